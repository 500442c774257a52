#include "nats/handle.hpp"
#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/tcp_proxy.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <nats/nats.h>

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

TEST_CASE("a broker that is away at start is waited for, and uses up no attempt", "[engines]") {
  Broker broker;
  broker.server.stop();
  Outbox outbox{engine_under_test()};
  const auto id = outbox.add("a");
  std::atomic<bool> started{false};
  std::thread later{[&] {
    while (!started) std::this_thread::yield();
    broker.server.start();
  }};
  started = true;
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 1);
  CHECK(outbox.value(id, "retryCount") == "0");
  later.join();
}

TEST_CASE("a broker that goes down under way costs no attempt and no order", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  outbox.add_many(3000, 11);
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(
      10s, broker.jetstream.has_stream("AUTH_EVENTS") && broker.jetstream.message_count("AUTH_EVENTS") > 100);
  broker.server.kill();
  REQUIRE_WITHIN(10s, processor.phase() == Phase::waiting_for_broker);
  outbox.add_many(500, 11);
  broker.server.start();
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 3500);
  CHECK(outbox.count("retryCount > 0 OR lastError IS NOT NULL") == 0);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")).empty());
}

TEST_CASE("what was sent to nobody is sent again as soon as the stream has a new leader") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.elsewhere.>"});
  tidings::Connection nobody{{.urls = {broker.server.url()}}};
  natsSubscription* silent = nullptr;  // takes what is published, and does not answer
  REQUIRE(natsConnection_SubscribeSync(&silent, native(nobody), "auth.events.>") == NATS_OK);
  REQUIRE(nobody.flush(5s));
  Outbox outbox;
  outbox.add_many(3, 2);
  auto options = quick();
  options.manage_stream = false;
  options.publisher.ack_timeout = 60s;
  Processor processor{outbox, broker.server.url(), options};
  std::uint64_t queued = 0;
  REQUIRE_WITHIN(10s, natsSubscription_QueuedMsgs(silent, &queued) == NATS_OK && queued > 0);
  natsSubscription_Destroy(silent);
  broker.jetstream.api("STREAM.UPDATE.AUTH_EVENTS",
                       {{"name", "AUTH_EVENTS"}, {"subjects", {"auth.events.>"}}});
  REQUIRE(natsConnection_PublishString(native(nobody), "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.AUTH_EVENTS",
                                       "{}") == NATS_OK);
  REQUIRE(nobody.flush(5s));
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 3);
  CHECK(outbox.count("retryCount > 0 OR lastError IS NOT NULL") == 0);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")).empty());
}

TEST_CASE("a connection cut at any place of a batch loses nothing and inverts nothing", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Outbox outbox{engine_under_test()};
  TcpProxy proxy{broker.server.port()};
  Processor processor{outbox, proxy.url(), quick()};
  REQUIRE_WITHIN(5s, processor.phase() == Phase::active);
  int events = 0;
  for (std::uint64_t bytes = 1; bytes < 60000; bytes += 2719) {
    const auto cuts = proxy.cuts();
    proxy.cut_after_bytes_to_server(bytes);
    outbox.add_many(120, 5);
    events += 120;
    REQUIRE_WITHIN(10s, proxy.cuts() > cuts);
  }
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == events);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")).empty());
  CHECK(outbox.count("retryCount > 0") == 0);
}

TEST_CASE("an acknowledgement that got lost is no failure: the repeat is known to the stream", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Outbox outbox{engine_under_test()};
  TcpProxy proxy{broker.server.port()};
  Processor processor{outbox, proxy.url(), quick()};
  outbox.add("first");
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 1);
  proxy.swallow_from_server(true);
  outbox.add_many(50, 50);
  REQUIRE_WITHIN(5s, broker.jetstream.message_count("AUTH_EVENTS") == 51);
  CHECK(outbox.count_status("PENDING") == 50);
  proxy.cut();
  proxy.swallow_from_server(false);
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 51);
  CHECK(broker.jetstream.message_count("AUTH_EVENTS") == 51);
}

TEST_CASE("a refused event is dead after the fifth attempt, and its aggregate's next waits until then",
          "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  const auto first = outbox.add("hot");
  const auto poison = outbox.add("hot", json_of_size(2000));
  const auto third = outbox.add("hot");
  outbox.add_many(200, 20, "other-");
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 202 && outbox.count_status("DEAD_LETTER") == 1);
  CHECK(outbox.value(poison, "status") == "DEAD_LETTER");
  CHECK(outbox.value(poison, "retryCount") == "5");
  CHECK_THAT(outbox.value(poison, "lastError"),
             tidings::test::ContainsSubstring("message size exceeds maximum allowed"));

  const auto stream = broker.jetstream.messages("AUTH_EVENTS");
  CHECK(ledger(outbox, stream).empty());
  CHECK(stream.front().header("ce-id") == first);
  CHECK(stream.back().header("ce-id") == third);  // everyone else went before
  CHECK(processor.status().dead_lettered == 1);
}

TEST_CASE("attempts are spaced by exponential backoff", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  const auto poison = outbox.add("a", json_of_size(2000));
  std::atomic<std::int64_t> offset{0};  // milliseconds that the injected clock is ahead
  auto options = quick();
  options.backoff = {.base = 60s, .max = 3600s};
  options.clock = [&offset] { return now() + std::chrono::milliseconds{offset.load()}; };
  Processor processor{outbox, broker.server.url(), options};
  const auto attempts = [&] { return std::stoi(outbox.value(poison, "retryCount")); };
  for (int attempt = 1; attempt < 5; ++attempt) {
    REQUIRE_WITHIN(5s, attempts() == attempt && outbox.value(poison, "status") == "FAILED");
    const auto delay = options.backoff.delay(attempt, poison);
    CHECK(delay >= 45s * (1 << (attempt - 1)));
    CHECK(delay <= 60s * (1 << (attempt - 1)));
    offset += (delay - 1s).count();
    processor.notify();
    outbox.add("marker-" + std::to_string(attempt));  // published after the processor has read everything
    REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == attempt);
    CHECK(attempts() == attempt);
    offset += 1001;
    processor.notify();
  }
  REQUIRE_WITHIN(5s, outbox.value(poison, "status") == "DEAD_LETTER");
  CHECK(attempts() == 5);
}

TEST_CASE("a hundred thousand events behind a blocked aggregate keep nobody waiting", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  outbox.add("blocked", json_of_size(2000));
  outbox.add_many(100000, 1, "blocked");
  outbox.execute("UPDATE outbox_event SET aggregateId = 'blocked'");
  outbox.add_many(500, 50, "free-");
  auto options = quick();
  options.backoff = {.base = 600s, .max = 600s};
  Processor processor{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(30s, outbox.count("status = 'PUBLISHED' AND aggregateId <> 'blocked'") == 500);
  CHECK(outbox.count_status("PUBLISHED") == 500);
  CHECK(processor.status().blocked_aggregates == 1);
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

TEST_CASE("a row left PROCESSING by a processor that died is taken up again at once", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  const auto stuck = outbox.add("a");
  const auto next = outbox.add("a");
  outbox.execute("UPDATE outbox_event SET status = 'PROCESSING', retryCount = 1, updatedAt = '" +
                 to_iso8601(now() - 600s) + "' WHERE id = '" + stuck + "'");
  auto options = quick();
  options.processing_timeout = 1h;
  options.backoff = {.base = 600s, .max = 600s};
  Processor processor{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 2);
  const auto stream = broker.jetstream.messages("AUTH_EVENTS");
  CHECK(stream[0].header("ce-id") == stuck);
  CHECK(stream[1].header("ce-id") == next);
}

TEST_CASE("a row set back to PENDING by an operator goes out again by the next poll", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  const auto id = outbox.add("a");
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER'");
  outbox.add("b");
  auto options = quick();
  options.processing_interval = 100ms;
  Processor processor{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 1);
  outbox.execute("UPDATE outbox_event SET status = 'PENDING' WHERE status = 'DEAD_LETTER'");
  REQUIRE_WITHIN(5s, outbox.value(id, "status") == "PUBLISHED");
}

TEST_CASE("cleanup deletes published rows past retention and never the young, the dead or the unsent",
          "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  outbox.add_many(300, 3, "old-");
  outbox.execute(
      "UPDATE outbox_event SET status = 'PUBLISHED', publishedAt = '2020-01-01T00:00:00.000Z', "
      "createdAt = '2020-01-01T00:00:00.000Z'");
  const auto dead = outbox.add("dead");
  outbox.execute(
      "UPDATE outbox_event SET status = 'DEAD_LETTER', createdAt = '2020-01-01T00:00:00.000Z' WHERE id = '" +
      dead + "'");
  const auto failed = outbox.add("failed", json_of_size(2000));
  outbox.add("young");
  auto options = quick();
  options.cleanup_interval = 50ms;
  options.backoff = {.base = 600s, .max = 600s};
  Processor processor{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(10s, outbox.count("aggregateId LIKE 'old-%'") == 0);
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 1);
  CHECK(outbox.value(dead, "status") == "DEAD_LETTER");
  CHECK(outbox.value(failed, "status") == "FAILED");
}

TEST_CASE("with retention 0 a published row is gone, and later events still go out", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  auto options = quick();
  options.retention = std::chrono::days{0};
  options.cleanup_interval = 20ms;
  Processor processor{outbox, broker.server.url(), options};
  for (int i = 1; i <= 5; ++i) {
    outbox.add_many(20, 20);
    REQUIRE_WITHIN(5s,
                   broker.jetstream.has_stream("AUTH_EVENTS") &&
                       broker.jetstream.message_count("AUTH_EVENTS") == static_cast<std::uint64_t>(20 * i));
    REQUIRE_WITHIN(5s,
                   outbox.count("true") <= 1);  // the newest row may stay as a mark of how far positions went
  }
}

TEST_CASE("a second processor stands by, and takes over at once when the first stops", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  auto options = quick();
  options.lease = 60s;
  std::optional<Processor> first;
  first.emplace(outbox, broker.server.url(), options);
  REQUIRE_WITHIN(5s, first->phase() == Phase::active);
  Processor second{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(5s, second.phase() == Phase::standby);
  outbox.add_many(100, 10);
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 100);
  CHECK(second.status().published == 0);
  first.reset();
  outbox.add_many(100, 10);
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 200);
  CHECK(second.phase() == Phase::active);
}

TEST_CASE("a processor whose lease was taken stops writing, and stands by", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(5s, processor.phase() == Phase::active);
  outbox.execute("UPDATE outbox_lease SET holder = 'another', epoch = epoch + 1, expiresAt = 9999999999999");
  const auto id = outbox.add("a");
  REQUIRE_WITHIN(5s, processor.phase() == Phase::standby);
  CHECK(outbox.value(id, "status") == "PENDING");  // sent perhaps, but not marked by the one that lost
}

TEST_CASE("draining ends when nothing is left, with refused events dead", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  outbox.add_many(1000, 10);
  outbox.add("user-3", json_of_size(2000));
  outbox.add_many(100, 10);
  auto options = quick();
  options.drain = true;
  Processor processor{outbox, broker.server.url(), options};
  processor.join();
  CHECK(processor.error().empty());
  CHECK(outbox.count_status("PUBLISHED") == 1100);
  CHECK(outbox.count_status("DEAD_LETTER") == 1);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")).empty());
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
