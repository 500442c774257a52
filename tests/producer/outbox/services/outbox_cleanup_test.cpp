// What a processor removes of what it has published.

#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

using namespace tidings;
using namespace tidings::test;

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
