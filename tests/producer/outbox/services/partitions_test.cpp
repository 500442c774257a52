// Events that are published to partitions.

#include "nats/partition.hpp"
#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/log.hpp"
#include "support/nats_server.hpp"
#include "support/newer_nats.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/uuid.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

OutboxProcessorOptions quick(int partitions) {
  OutboxProcessorOptions options;
  options.processing_interval = 60s;
  options.backoff = {.base = 20ms, .max = 50ms};
  options.max_retries = 3;
  options.publisher.partitions = partitions;
  return options;
}

/// What the subject must be, by what the message itself says.
std::string expected_subject(const StoredMessage& message, int partitions) {
  std::string subject = "auth.events.";
  Partition::of_aggregate(message.header("ce-partitionkey"), partitions).append_token_to(subject);
  return subject + '.' + message.header("ce-type");
}

}  // namespace

TEST_CASE("the partition of an aggregate is that of partition() in nats-server's mappings") {
  std::optional<NatsProgram> chosen;
  if (GENERATE(false, true)) {
    const auto newer = newer_nats();
    if (!newer) return;
    chosen.emplace(*newer);
  }
  constexpr int of = 16;
  NatsServer server{{.config = R"(mappings = { "events.*": "mapped.{{partition(16,1)}}.{{wildcard(1)}}" })"}};
  JetStream jetstream{server.url()};
  jetstream.add_stream("MAPPED", {"mapped.>"});
  std::vector<std::string> ids{
      "a", "foobar", "zoë", "用户-7", "2b1d3c", "UPPER_lower-09", std::string(200, 'x')};
  for (int i = 0; i < 200; ++i) ids.push_back(i % 2 == 0 ? new_uuid() : "user-" + std::to_string(i));
  for (const auto& id : ids) jetstream.publish("events." + id, "{}");
  const auto mapped = jetstream.messages("MAPPED");
  REQUIRE(mapped.size() == ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i)
    CHECK(mapped[i].subject ==
          "mapped." + std::to_string(Partition::of_aggregate(ids[i], of).number) + "." + ids[i]);
}

TEST_CASE("what is published again after a refusal goes to the partition of its aggregate", "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  outbox.add("hot", "\"" + std::string(2000, 'x') + "\"");
  outbox.add("hot");
  outbox.add_many(40, 20);
  auto options = quick(16);
  options.max_retries = 1000;  // it is not to die before this test has seen it fail
  const Processor processor{outbox, server.url(), options};
  REQUIRE_WITHIN(10s, outbox.count("status = 'FAILED' OR retryCount > 0") == 1);
  auto config = jetstream.stream_config("AUTH_EVENTS");
  config["max_msg_size"] = -1;
  jetstream.api("STREAM.UPDATE.AUTH_EVENTS", config);
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 42);
  const auto stream = jetstream.messages("AUTH_EVENTS");
  REQUIRE(stream.size() == 42);
  for (const auto& message : stream) CHECK(message.subject == expected_subject(message, 16));
  CHECK(ledger(outbox, stream) == "");
}

TEST_CASE("events of a batch go to the partitions of their aggregates", "[engines]") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  NatsServer server;
  JetStream jetstream{server.url()};
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"allow_atomic", true}});
  Outbox outbox{engine_under_test()};
  outbox.add_many(300, 3);
  const Processor processor{outbox, server.url(), quick(99)};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 300);
  const auto stream = jetstream.messages("AUTH_EVENTS");
  REQUIRE(stream.size() == 300);
  for (const auto& message : stream) REQUIRE(message.subject == expected_subject(message, 99));
  CHECK(std::ranges::any_of(stream,
                            [](const auto& message) { return !message.header("Nats-Batch-Id").empty(); }));
  CHECK(ledger(outbox, stream) == "");
}

TEST_CASE("a type that would have too many parts with its partition is a dead letter") {
  NatsServer server;
  Outbox outbox{Engine::sqlite};
  const std::string fourteen = "1.2.3.4.5.6.7.8.9.10.11.12.13.14";
  const auto bad = outbox.add("a", "{}", fourteen);
  const auto next = outbox.add("a");
  const Processor processor{outbox, server.url(), quick(16)};
  REQUIRE_WITHIN(10s, outbox.value(next, "status") == "PUBLISHED");
  CHECK(outbox.value(bad, "status") == "DEAD_LETTER");
  CHECK_THAT(outbox.value(bad, "lastError"), ContainsSubstring("16 parts"));
}

TEST_CASE("a subject that takes no more holds up the aggregates of its partition only", "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  jetstream.add_stream(
      "AUTH_EVENTS", {"auth.events.>"},
      {{"max_msgs_per_subject", 200}, {"discard", "new"}, {"discard_new_per_subject", true}});
  Outbox outbox{engine_under_test()};
  const auto full = outbox.add("foobar");
  const auto behind = outbox.add("foobar");
  const auto subject = quick(16).publisher.subject_of(outbox.repository().find(full)->event);
  for (int i = 0; i < 200; ++i) jetstream.publish(subject, "{}");
  outbox.add_many(200, 100);  // all of one type
  const auto others = [&](const std::string& status) {
    int count = 0;
    for (const auto& id :
         outbox.column("SELECT \"aggregateId\" FROM outbox_event WHERE status = '" + status + "'"))
      if (Partition::of_aggregate(id, 16) != Partition::of_aggregate("foobar", 16)) ++count;
    return count;
  };
  REQUIRE(others("PENDING") > 100);
  const Processor processor{outbox, server.url(), quick(16)};
  REQUIRE_WITHIN(20s, others("PENDING") == 0);
  CHECK(others("PUBLISHED") > 100);
  int more = 0;  // others that go out show that it is not the broker
  REQUIRE_WITHIN(30s, [&] {
    if (others("PENDING") == 0) outbox.add("more-" + std::to_string(++more));
    return outbox.value(behind, "status") == "DEAD_LETTER";
  }());
  CHECK_THAT(outbox.value(full, "lastError"), ContainsSubstring("maximum messages per subject"));
  CHECK(others("FAILED") + others("DEAD_LETTER") == 0);
}

TEST_CASE("a type that may not be published to partitions holds up its own aggregate only") {
  NatsServer server{{.config = R"(authorization { users: [ { user: admin, password: word },
    { user: relay, password: word, permissions: { publish: { allow: [ "auth.events.*.user.>", "$JS.API.>" ] } } } ] })"}};
  const auto url = [&](const std::string& user) {
    return "nats://" + user + ":word@127.0.0.1:" + std::to_string(server.port());
  };
  JetStream{url("admin")}.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Outbox outbox{Engine::sqlite};
  const auto bad = outbox.add("a", "{}", "order.created");
  outbox.add_many(20, 20);
  auto options = quick(16);
  options.publisher.ack_timeout = 500ms;
  options.manage_stream = false;
  const Processor processor{outbox, url("relay"), options};
  int more = 0;
  REQUIRE_WITHIN(30s, [&] {
    if (outbox.count("status = 'PENDING'") <= 1) outbox.add("more-" + std::to_string(++more));
    return outbox.value(bad, "status") == "DEAD_LETTER";
  }());
  CHECK_THAT(outbox.value(bad, "lastError"), ContainsSubstring("Permissions Violation"));
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 20 + more);
}

TEST_CASE("a processor that begins with another number of partitions than before warns, once", "[engines]") {
  NatsServer server;
  Outbox outbox{engine_under_test()};
  const auto told_with = [&](int partitions) {
    const Log log;
    outbox.add("a");
    Processor processor{outbox, server.url(), quick(partitions)};
    REQUIRE_WITHIN(10s, outbox.count("status <> 'PUBLISHED'") == 0);
    processor.stop();
    return log.text();
  };
  const auto changed = [](int before, int now) {
    return "OUTBOX_PARTITIONS=" + std::to_string(now) + ", and this outbox was published with " +
           std::to_string(before) + " before";
  };
  const int first = GENERATE(1, 8);
  CHECK(told_with(first).find("OUTBOX_PARTITIONS") == std::string::npos);
  CHECK(told_with(first).find("OUTBOX_PARTITIONS") == std::string::npos);
  const auto told = told_with(16);
  CHECK_THAT(told, ContainsSubstring(changed(first, 16)));
  CHECK_THAT(told, ContainsSubstring(how_to_change_partitions));
  CHECK(told_with(16).find("OUTBOX_PARTITIONS") == std::string::npos);
  CHECK_THAT(told_with(1), ContainsSubstring(changed(16, 1)));
  CHECK(told_with(1).find("OUTBOX_PARTITIONS") == std::string::npos);
}
