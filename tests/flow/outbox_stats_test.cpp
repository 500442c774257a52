// What `tidings outbox stats` says of a relay in another process.

#include "support/catch.hpp"
#include "support/loopback.hpp"
#include "support/relays.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <nlohmann/json.hpp>

#include <csignal>

using namespace tidings::test;

namespace {

nlohmann::json stats(const Relays& relays) {
  const auto finished = run(executable("tidings"), {"outbox", "stats", "--json"},
                            {.environment = {{"DATABASE_URL", relays.outbox.url()}}});
  INFO(finished.err);
  REQUIRE(finished.exit == exited(0));
  return nlohmann::json::parse(finished.out);
}

std::string state(const Relays& relays) { return stats(relays).at("processor").at("state"); }

}  // namespace

TEST_CASE("stats tell what the processor is doing, also when it is gone", "[engines]") {
  Relays relays{engine_under_test()};
  CHECK(stats(relays).at("processor") == nlohmann::json{{"state", "none"}});

  auto relay = relays.start({{"OUTBOX_LEASE_MS", "10000"}});
  REQUIRE_WITHIN(10s, state(relays) == "active");
  relays.outbox.add_many(100, 7);
  REQUIRE_WITHIN(10s, relays.all_published());
  const auto active = stats(relays);
  CHECK(active.at("published") == 100);
  CHECK(active.at("processor").at("epoch") == 1);
  CHECK(active.at("processor").at("trouble").is_null());
  CHECK(
      active.at("processor").at("holder").get<std::string>().starts_with(std::to_string(relay.pid()) + "-"));

  relays.server.stop();
  relays.outbox.add("a");
  // Told at once, not with the next renewal of the lease.
  REQUIRE_WITHIN(3s, state(relays) == "waiting_for_broker");
  const auto waiting = stats(relays);
  CHECK(waiting.at("processor").at("trouble").is_string());
  CHECK(waiting.at("pending") == 1);
  CHECK(waiting.at("oldestPendingMs") >= 0);

  relays.server.start();
  REQUIRE_WITHIN(10s, state(relays) == "active" && relays.all_published());
  relay.kill(SIGTERM);
  REQUIRE(relay.wait() == exited(0));
  CHECK(state(relays) == "stopped");

  auto killed = relays.start({{"OUTBOX_LEASE_MS", "500"}});
  REQUIRE_WITHIN(10s, state(relays) == "active");
  killed.kill(SIGKILL);
  REQUIRE_WITHIN(10s, state(relays) == "lost");
  CHECK(stats(relays).at("published") == 101);
}

TEST_CASE("a relay that starts while NATS is away is seen with its reason, and keeps no other away",
          "[engines]") {
  Relays relays{engine_under_test()};
  const auto waits = [&relays] {
    const auto processor = stats(relays).at("processor");
    return processor.at("state") == "waiting_for_broker" &&
           processor.at("trouble").get<std::string>().starts_with("cannot connect to NATS at");
  };
  const ReservedPort nobody;
  const Relays::Settings away{{"NATS_URL", "nats://127.0.0.1:" + std::to_string(nobody.number())}};
  auto waiting = relays.start(away);
  REQUIRE_WITHIN(10s, waits());
  CHECK(stats(relays).at("processor").at("holder").is_null());

  auto other = relays.start();
  REQUIRE_WITHIN(10s, state(relays) == "active");
  relays.outbox.add_many(20, 3);
  REQUIRE_WITHIN(10s, relays.all_published());
  other.kill(SIGTERM);
  REQUIRE(other.wait() == exited(0));
  REQUIRE_WITHIN(10s, waits());
  CHECK(stats(relays).at("published") == 20);

  waiting.kill(SIGTERM);
  REQUIRE(waiting.wait() == exited(0));
  CHECK(state(relays) == "stopped");

  relays.server.stop();
  auto late = relays.start();
  REQUIRE_WITHIN(10s, waits());
  relays.server.start();
  REQUIRE_WITHIN(10s, state(relays) == "active");
  CHECK(stats(relays).at("processor").at("trouble").is_null());
}

TEST_CASE("a relay that ends because of its stream leaves the reason behind", "[engines]") {
  Relays relays{engine_under_test()};
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"storage", "memory"}});
  auto relay = relays.start();
  REQUIRE(relay.wait() == exited(1));
  const auto processor = stats(relays).at("processor");
  CHECK(processor.at("state") == "stopped");
  CHECK_THAT(processor.at("trouble").get<std::string>(), ContainsSubstring("storage memory, expected file"));
}

TEST_CASE("stats name the blocked aggregates, the event that they wait for and why", "[engines]") {
  Relays relays{engine_under_test()};
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  const auto big = json_of_size(2000);
  const auto first = relays.outbox.add("blocked", big);
  relays.outbox.add("blocked");
  relays.outbox.add("free");
  auto relay = relays.start({{"OUTBOX_BACKOFF_BASE_MS", "600000"}, {"OUTBOX_BACKOFF_MAX_MS", "600000"}});
  REQUIRE_WITHIN(10s, stats(relays).at("failed") == 1 && relays.published() == 1);
  const auto told = stats(relays);
  CHECK(told.at("blockedAggregates") == 1);
  REQUIRE(told.at("blocked").size() == 1);
  const auto& blocked = told.at("blocked").at(0);
  CHECK(blocked.at("aggregateType") == "User");
  CHECK(blocked.at("aggregateId") == "blocked");
  CHECK(blocked.at("eventId") == first);
  CHECK(blocked.at("retryCount") == 1);
  CHECK_THAT(blocked.at("lastError").get<std::string>(),
             ContainsSubstring("message size exceeds maximum allowed"));
  CHECK(told.at("processor").at("state") == "active");
}
