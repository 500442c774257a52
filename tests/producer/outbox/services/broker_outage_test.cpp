// What a processor does, and says, while it waits for NATS.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <atomic>
#include <string>

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
