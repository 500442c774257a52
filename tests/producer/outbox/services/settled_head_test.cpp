#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <string>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("an event whose predecessor an operator has settled has all of its own attempts", "[engines]") {
  NatsServer server;
  JetStream jetstream{server.url()};
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  const auto big = json_of_size(2000);
  const auto head = outbox.add("a", big);
  const auto next = outbox.add("a", big);
  const auto last = outbox.add("a");
  OutboxProcessorOptions options;
  options.processing_interval = 60s;
  options.backoff = {.base = 1s, .max = 1s};
  options.max_retries = 2;
  const Processor processor{outbox, server.url(), options};
  REQUIRE_WITHIN(10s, outbox.value(head, "status") == "FAILED");
  const auto settle = GENERATE("UPDATE outbox_event SET status = 'DEAD_LETTER' WHERE id = '",
                               "DELETE FROM outbox_event WHERE id = '");
  outbox.execute(settle + head + "'");
  REQUIRE_WITHIN(10s, outbox.value(next, "status") == "DEAD_LETTER");
  CHECK(processor.status().refused == 3);  // once the head, twice the next
  REQUIRE_WITHIN(10s, outbox.value(last, "status") == "PUBLISHED");
}
