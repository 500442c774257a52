#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <atomic>
#include <thread>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

TEST_CASE("a processor refuses an option outside of its limits when it is built") {
  Broker broker;
  const Outbox outbox{Engine::sqlite};
  auto options = quick();
  options.lease = 499ms;
  CHECK_THAT(error_of<SettingError>([&] {
               Processor{outbox, broker.server.url(), options};
             }),
             ContainsSubstring("OUTBOX_LEASE_MS=499"));
  options = quick();
  options.publisher.stream = "A B";  // before anything is subscribed to by that name
  CHECK_THAT(error_of<SettingError>([&] {
               Processor{outbox, broker.server.url(), options};
             }),
             ContainsSubstring("OUTBOX_STREAM=A B"));
}

TEST_CASE(
    "events of different aggregates go out in commit order, and their outcomes are stored with their times",
    "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  outbox.add_many(500, 500);
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 500);
  processor.stop();

  const auto stream = broker.jetstream.messages("AUTH_EVENTS");
  REQUIRE(stream.size() == 500);
  const auto ids = outbox.in_order();
  for (std::size_t i = 0; i < ids.size(); ++i) REQUIRE(stream[i].header("ce-id") == ids[i]);
  CHECK(outbox.count(
            "publishedAt IS NULL OR processedAt IS NULL OR lastError IS NOT NULL OR retryCount <> 0") == 0);
  CHECK(broker.jetstream.stream_config("AUTH_EVENTS").at("storage") == "file");
}

TEST_CASE("events of one aggregate go out in order, whatever others commit meanwhile", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  for (int round = 1; round <= 10; ++round) {
    outbox.add_many(60, 1, "hot-");
    outbox.add_many(60, 60);
  }
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1200);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")) == "");
  CHECK(outbox.count("retryCount > 0 OR lastError IS NOT NULL") == 0);
}

TEST_CASE("a commit wakes the processor, from this process and from another connection", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(5s, processor.phase() == Phase::active);
  outbox.add("a");
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 1);
  processor.notify();
  outbox.add("b");
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 2);
}

TEST_CASE("a stream that is deleted while running is made again, and nothing is lost", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  outbox.add("a");
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 1);
  broker.jetstream.delete_stream("AUTH_EVENTS");
  const auto id = outbox.add("a");
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 2);
  CHECK(outbox.value(id, "retryCount") == "0");
  CHECK(broker.jetstream.messages("AUTH_EVENTS").at(0).header("ce-id") == id);
}

TEST_CASE("a stream that differs stops the processor with the field and both values", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"storage", "memory"}});
  Outbox outbox{engine_under_test()};
  outbox.add("a");
  Processor processor{outbox, broker.server.url(), quick()};
  processor.join();
  CHECK_THAT(processor.error(), tidings::test::ContainsSubstring("storage memory, expected file"));
  CHECK(outbox.count_status("PENDING") == 1);
}

TEST_CASE("rows of other writers in SQLite: cuids, plain data, unreadable data, impossible types") {
  Broker broker;
  Outbox outbox;
  const auto insert = [&](const std::string& id, const std::string& type, const std::string& data) {
    outbox.execute(
        "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
        "updatedAt) "
        "VALUES ('" +
        id + "', '" + id + "', 'User', '" + type + "', '" + data +
        "', '2026-01-31T08:15:30.123+00:00', 1767225600000)");
  };
  insert("ckv1x2y3z0000qwertyuiopas", "user.created", R"({"userId":"u"})");
  insert("bad-data", "user.created", "{oops");
  insert("bad-type", "user created", "{}");
  insert("fine", "user.deleted", R"({"data":{"x":1}})");
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 2 && outbox.count_status("DEAD_LETTER") == 2);
  CHECK_THAT(outbox.value("bad-data", "lastError"), tidings::test::ContainsSubstring("eventData"));
  CHECK_THAT(outbox.value("bad-type", "lastError"), tidings::test::ContainsSubstring("eventType"));
  const auto stream = broker.jetstream.messages("AUTH_EVENTS");
  REQUIRE(stream.size() == 2);
  CHECK(stream[0].header("Nats-Msg-Id") == "auth-service/ckv1x2y3z0000qwertyuiopas");
  CHECK(stream[0].header("ce-time") == "2026-01-31T08:15:30.123Z");
  CHECK(stream[0].data == R"({"userId":"u"})");
}

TEST_CASE("another publisher on the same stream costs no order and no attempt", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Outbox outbox{engine_under_test()};
  outbox.add_many(3000, 30);
  std::atomic<bool> done{false};
  std::thread foreign{[&] {
    JetStream other{broker.server.url()};
    while (!done) other.publish("auth.events.foreign", "{}");
  }};
  {
    Processor processor{outbox, broker.server.url(), quick()};
    CHECK(eventually(20s, [&] { return outbox.count_status("PUBLISHED") == 3000; }));
  }
  done = true;
  foreign.join();
  auto stream = broker.jetstream.messages("AUTH_EVENTS");
  std::erase_if(stream,
                [](const StoredMessage& message) { return message.subject == "auth.events.foreign"; });
  CHECK(ledger(outbox, stream).empty());
  CHECK(outbox.count("retryCount > 0") == 0);
}

TEST_CASE("writers with pauses inside their transactions: nothing is skipped", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 8; ++writer) {
    writers.emplace_back([&, writer] {
      const auto database = Database::open(outbox.url());
      const auto repository = database->outbox();
      for (int i = 0; i < 20;) {
        try {
          database->transact([&](Transaction& transaction) {
            DomainEvent event;
            event.aggregate_id = "writer-" + std::to_string(writer);
            event.aggregate_type = "User";
            event.event_type = "user.created";
            repository->add(transaction, event);
            std::this_thread::yield();
          });
          ++i;
        } catch (const DatabaseError& error) {
          if (!error.retryable()) throw;  // a slow disk can keep a writer waiting for longer than it waits
        }
      }
    });
  }
  for (auto& writer : writers) writer.join();
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 160);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")).empty());
}
