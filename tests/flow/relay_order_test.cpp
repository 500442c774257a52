// The order of commits is the order of the stream, whatever clocks and writers do.

#include "support/catch.hpp"
#include "support/processor.hpp"
#include "support/relays.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <atomic>
#include <csignal>

using namespace tidings::test;
using tidings::OutboxProcessorOptions;
using tidings::Timestamp;
using Clock = std::chrono::steady_clock;

namespace {

/// Commits `count` events of `aggregates` whose times say `time`.
void add_dated(Outbox& outbox, const std::string& prefix, int count, int aggregates, Timestamp time) {
  const auto text = tidings::to_iso8601(time);
  std::string rows;
  for (int i = 0; i < count; ++i)
    rows += (i > 0 ? ", ('" : "('") + prefix + std::to_string(i) + "', 'user-" +
            std::to_string(i % aggregates) + "', 'User', 'user.created', '{}', '" + text + "', '" + text +
            "', '" + text + "')";
  outbox.execute(
      "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, createdAt, "
      "updatedAt) VALUES " +
      rows);
}

}  // namespace

TEST_CASE("of sixty-four writers that pause inside their transactions none is skipped or overtaken",
          "[engines]") {
  const auto seed = random_seed();
  INFO("TIDINGS_SEED=" << seed);
  Relays relays{engine_under_test()};
  auto relay = relays.start();
  Writers writers{relays.outbox,
                  {.writers = 64,
                   .aggregates = 40,
                   .largest_commit = 4,
                   .commits = 8,
                   .longest_pause = 40ms,
                   .longest_pause_inside = 2ms,
                   .seed = seed}};
  writers.finish();
  CHECK(relays.outbox.count("true") == writers.committed());
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.audit() == "");
  relay.kill(SIGTERM);
  CHECK(relay.wait() == exited(0));
}

TEST_CASE("what a killed relay had stored out of turn lets no event overtake its aggregate's earlier one",
          "[engines]") {
  Relays relays{engine_under_test()};
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  // As a relay leaves it that was killed before it could mark what it had sent: "a" and "c" are stored, "b"
  // is not, and the stream's last message is an event still PENDING.
  std::vector<std::string> ids;
  for (const char* aggregate : {"a", "b", "c", "b"}) ids.push_back(relays.outbox.add(aggregate));
  for (const std::size_t stored : {0U, 2U})
    relays.jetstream.publish("auth.events.user.created", "{}",
                             {{"Nats-Msg-Id", ids[stored]},
                              {"ce-id", ids[stored]},
                              {"ce-subject", relays.outbox.value(ids[stored], "aggregateId")}});
  auto relay = relays.start();
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.audit() == "");
}

TEST_CASE("events whose times go back an hour in mid-stream go out in commit order") {
  Relays relays;
  const auto time = tidings::now();
  add_dated(relays.outbox, "early-", 100, 5, time);
  add_dated(relays.outbox, "back-", 100, 5, time - 1h);
  auto relay = relays.start();
  REQUIRE_WITHIN(20s, relays.published() == 200);
  for (int hours = 1; hours <= 5; ++hours)
    add_dated(relays.outbox, std::to_string(hours) + "-", 20, 5, time - std::chrono::hours{hours});
  add_dated(relays.outbox, "late-", 100, 5, time + 1h);
  add_dated(relays.outbox, "end-", 100, 5, time);
  REQUIRE_WITHIN(20s, relays.published() == 500);
  CHECK(relays.audit() == "");
}

TEST_CASE("a row that failed an hour in the future is retried after its delay", "[clock]") {
  Relays relays;
  const auto id = relays.outbox.add("a");
  const auto next = relays.outbox.add("a");
  // Marked before the clock was set back.
  relays.outbox.execute("UPDATE outbox_event SET status = 'FAILED', retryCount = 1, updatedAt = '" +
                        tidings::to_iso8601(tidings::now() + 1h) + "' WHERE id = '" + id + "'");
  auto relay = relays.start();
  REQUIRE_WITHIN(5s, relays.published() == 2);
  const auto stream = relays.jetstream.messages("AUTH_EVENTS");
  CHECK(stream.at(0).header("ce-id") == id);
  CHECK(stream.at(1).header("ce-id") == next);
}

TEST_CASE("a retry that waits while the clock goes back an hour comes after its delay", "[clock]") {
  Relays relays;
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  std::atomic<std::chrono::milliseconds::rep> offset{0};
  OutboxProcessorOptions options;
  options.backoff = {.base = 800ms, .max = 800ms};
  options.clock = [&offset] { return tidings::now() + std::chrono::milliseconds{offset.load()}; };
  const auto begun = Clock::now();
  const auto poison = relays.outbox.add("a", json_of_size(2000));
  Processor processor{relays.outbox, relays.server.url(), options};
  REQUIRE_WITHIN(20s, relays.outbox.value(poison, "retryCount") == "1");
  offset = std::chrono::milliseconds{-1h}.count();
  REQUIRE_WITHIN(5s, relays.outbox.value(poison, "retryCount") == "2");
  CHECK(Clock::now() - begun >= options.backoff.delay(1, poison));
}
