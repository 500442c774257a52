// What a processor does, and says, while NATS is away, or what was sent or answered gets lost.

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

TEST_CASE("a retry that is due while the broker is away wakes nobody until it is back", "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  const auto id = outbox.add("a", json_of_size(2000));
  OutboxProcessorOptions options;
  options.processing_interval = 60s;
  options.lease = 500ms;
  options.backoff = {.base = 300ms, .max = 300ms};
  std::atomic<int> looks{0};  // at the clock: one at least each time that it looks for what is due
  options.clock = [&looks] {
    ++looks;
    return now();
  };
  const Processor processor{outbox, server.url(), options};
  REQUIRE_WITHIN(10s, outbox.value(id, "status") == "FAILED");
  server.stop();
  REQUIRE_WITHIN(10s, processor.phase() == Phase::waiting_for_broker);
  // Renewals of the lease tell how time passes: three in a lease.
  const auto renewals = [&outbox] { return outbox.number("SELECT beat FROM outbox_lease"); };
  const auto due = renewals() + 4;
  REQUIRE_WITHIN(10s, renewals() >= due);
  const int before = looks;
  REQUIRE_WITHIN(10s, renewals() >= due + 6);
  CHECK(looks - before < 150);

  server.start();
  REQUIRE_WITHIN(10s, outbox.number("SELECT retryCount FROM outbox_event") >= 2);
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
