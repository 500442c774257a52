// When a processor tries an event again, and what its aggregate does meanwhile.

#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <atomic>
#include <string>

using namespace tidings;
using namespace tidings::test;

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
  const auto begun = now();
  std::atomic<std::int64_t> passed{0};  // milliseconds by the processor's clock
  auto options = quick();
  options.backoff = {.base = 60s, .max = 3600s};
  options.clock = [&] { return begun + std::chrono::milliseconds{passed.load()}; };
  Processor processor{outbox, broker.server.url(), options};
  const auto attempts = [&] { return std::stoi(outbox.value(poison, "retryCount")); };
  for (int attempt = 1; attempt < 5; ++attempt) {
    REQUIRE_WITHIN(5s, attempts() == attempt && outbox.value(poison, "status") == "FAILED");
    const auto delay = options.backoff.delay(attempt, poison);
    CHECK(delay >= 45s * (1 << (attempt - 1)));
    CHECK(delay <= 60s * (1 << (attempt - 1)));
    passed += (delay - 1ms).count();
    processor.notify();
    outbox.add("marker-" + std::to_string(attempt));  // published after the processor has read everything
    REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == attempt);
    CHECK(attempts() == attempt);
    passed += 1;
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
