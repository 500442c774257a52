// One type of event that may not be published, beside others that may.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/newer_nats.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <algorithm>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

namespace {

OutboxProcessorOptions two_attempts() {
  auto options = quick();
  options.max_retries = 2;
  options.publisher.ack_timeout = 500ms;
  options.manage_stream = false;
  return options;
}

/// Why `order.created` is not stored, and `user.created` is.
struct Cause {
  std::string name, server_config, told;
  std::vector<std::string> subjects{"auth.events.>"};
  nlohmann::json stream = nlohmann::json::object();
};

const std::string narrow_permission =
    "authorization { users: [ { user: relay, password: word, permissions: { publish: {"
    " allow: [\"auth.events.user.>\", \"$JS.API.>\"] } } }, { user: admin, password: word } ] }";

const std::vector<Cause> causes{
    {"a narrow permission", narrow_permission, "Permissions Violation"},
    {"a stream with narrower subjects", "", "no stream answers", {"auth.events.user.>"}},
    {"a full subject",
     "",
     "maximum messages per subject",
     {"auth.events.>"},
     {{"max_msgs_per_subject", 1000}, {"discard", "new"}, {"discard_new_per_subject", true}}}};

struct Broker {
  explicit Broker(const Cause& cause)
      : server({.config = cause.server_config, .arguments = {}, .jetstream = true, .monitoring = false}),
        users(!cause.server_config.empty()),
        jetstream(url_of("admin")) {
    jetstream.add_stream("AUTH_EVENTS", cause.subjects, cause.stream);
    if (cause.stream.contains("discard"))
      for (int i = 0; i < 1000; ++i) jetstream.publish("auth.events.order.created", "{}");
  }
  [[nodiscard]] std::string url_of(const std::string& user) const {
    return users ? "nats://" + user + ":word@127.0.0.1:" + std::to_string(server.port()) : server.url();
  }
  NatsServer server;
  bool users;
  JetStream jetstream;
};

}  // namespace

TEST_CASE("a type that may not be published holds up its own aggregate only, until it is a dead letter",
          "[engines]") {
  const auto cause = GENERATE(from_range(causes));
  CAPTURE(cause.name);
  const Broker broker{cause};
  Outbox outbox{engine_under_test()};
  const auto bad = outbox.add("a", "{}", "order.created");
  const auto behind = outbox.add("a");
  for (int i = 0; i < 20; ++i) outbox.add("user-" + std::to_string(i));
  const Processor processor{outbox, broker.url_of("relay"), two_attempts()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") >= 20);
  CHECK(outbox.value(behind, "status") == "PENDING");
  // Others that go out show that it is not the broker.
  int others = 0;
  REQUIRE_WITHIN(30s, [&] {
    if (outbox.count("status = 'PENDING'") <= 2) outbox.add("other-" + std::to_string(++others));
    return outbox.value(bad, "status") == "DEAD_LETTER";
  }());
  CHECK_THAT(outbox.value(bad, "lastError"), ContainsSubstring(cause.told));
  REQUIRE_WITHIN(10s, outbox.value(behind, "status") == "PUBLISHED");
  REQUIRE_WITHIN(10s, processor.active());
  CHECK(outbox.count("retryCount > 0") == 1);
}

TEST_CASE(
    "a batch with events of a type that may not be published costs no other event its order or attempts",
    "[engines]") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  auto cause = GENERATE(from_range(causes));
  CAPTURE(cause.name);
  cause.stream["allow_atomic"] = true;
  Broker broker{cause};
  Outbox outbox{engine_under_test()};
  outbox.add_many(100, 2, "hot-");
  const auto middle = outbox.add("hot-0", "{}", "order.created");
  outbox.add_many(100, 2, "hot-");
  const auto last = outbox.add("hot-1", "{}", "order.created");  // so nobody answers the commit
  const Processor processor{outbox, broker.url_of("relay"), two_attempts()};
  int good = 200;
  REQUIRE_WITHIN(30s, [&] {
    if (outbox.count("status = 'PENDING' AND \"aggregateId\" LIKE 'other%'") == 0) {
      outbox.add_many(20, 1, "other-");
      good += 20;
    }
    return outbox.count_status("DEAD_LETTER") == 2;
  }());
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == good);
  for (const auto& bad : {middle, last}) {
    CHECK(outbox.value(bad, "status") == "DEAD_LETTER");
    CHECK_THAT(outbox.value(bad, "lastError"), ContainsSubstring(cause.told));
  }
  CHECK(outbox.count("retryCount > 0") == 2);
  auto stream = broker.jetstream.messages("AUTH_EVENTS");
  std::erase_if(stream, [](const auto& message) { return message.subject == "auth.events.order.created"; });
  CHECK(stream.size() == static_cast<std::size_t>(good));
  CHECK(ledger(outbox, stream) == "");
  CHECK(std::ranges::any_of(stream,
                            [](const auto& message) { return !message.header("Nats-Batch-Id").empty(); }));
}

TEST_CASE("while no type can be published, none uses up an attempt", "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{engine_under_test()};
  for (int i = 0; i < 5; ++i) {
    outbox.add("a" + std::to_string(i), "{}", "order.created");
    outbox.add("b" + std::to_string(i));
  }
  const Processor processor{outbox, server.url(), two_attempts()};
  REQUIRE_WITHIN(10s, processor.phase() == Phase::waiting_for_broker);
  CHECK_THAT(processor.status().waiting_because, ContainsSubstring("no stream answers"));
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 10);
  CHECK(outbox.count("retryCount > 0") == 0);
}
