// Beside a processor of another kind that works on the same table for a while: it sets a row to PROCESSING,
// publishes it, sets it to PUBLISHED or FAILED, and may be killed in between.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <atomic>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

struct Scene {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{engine_under_test()};
  std::atomic<std::chrono::milliseconds> passed{0ms};  // by the processor's clock
  const Timestamp begun = now();
  OutboxProcessorOptions options = [this] {
    OutboxProcessorOptions often;
    often.processing_interval = 50ms;
    often.processing_timeout = 60s;
    often.backoff = {.base = 20s, .max = 20s};
    often.clock = [this] { return begun + passed.load(); };
    return often;
  }();

  /// What it sets a row of aggregate a to, `since` the processor's begin.
  void set(const std::string& id, const std::string& status, std::chrono::milliseconds since = 0ms) const {
    outbox.execute(change(id, status, since));
  }
  /// A row that has become so in one moment.
  void add(const std::string& id, const std::string& status) const {
    outbox.execute("BEGIN; " + insert(id, "a") + "; " + change(id, status, 0ms) + "; COMMIT");
  }
  [[nodiscard]] static std::string insert(const std::string& id, const std::string& aggregate) {
    const auto time = "'" + to_iso8601(now()) + "'";
    return "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
           "createdAt, updatedAt) VALUES ('" +
           id + "', '" + aggregate + "', 'User', 'user.created', '{}', " + time + ", " + time + ", " + time +
           ")";
  }
  [[nodiscard]] std::string change(const std::string& id, const std::string& status,
                                   std::chrono::milliseconds since) const {
    return "UPDATE outbox_event SET status = '" + status +
           "', retryCount = " + (status == "FAILED" ? "1" : "0") + ", updatedAt = '" +
           to_iso8601(begun + since) + "' WHERE id = '" + id + "'";
  }
  [[nodiscard]] std::string status(const std::string& id) const { return outbox.value(id, "status"); }
  /// Waits until the processor has looked at all rows after this, and has gone on.
  void require_look() const {
    const auto id = "look-" + std::to_string(outbox.count("true"));
    outbox.execute("BEGIN; " + insert(id, id) + "; " + change(id, "FAILED", -1h) + "; COMMIT");
    REQUIRE_WITHIN(10s, status(id) == "PUBLISHED");
  }
  [[nodiscard]] std::vector<std::string> stream_of_a() {
    std::vector<std::string> ids;
    for (const auto& message : jetstream.messages("AUTH_EVENTS"))
      if (message.header("ce-subject") == "a") ids.push_back(message.header("ce-id"));
    return ids;
  }
};

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("a row that becomes FAILED under an active processor is tried again when it is due", "[engines]") {
  Scene scene;
  const Processor processor{scene.outbox, scene.server.url(), scene.options};
  REQUIRE_WITHIN(10s, processor.active());
  scene.add("e1", "FAILED");
  scene.require_look();
  const auto next = scene.outbox.add("a");
  scene.require_look();
  CHECK(scene.status("e1") == "FAILED");
  CHECK(scene.status(next) == "PENDING");
  scene.passed = 30s;
  REQUIRE_WITHIN(10s, scene.status(next) == "PUBLISHED");
  CHECK(scene.stream_of_a() == Ids{"e1", next});
}

TEST_CASE("a row that a killed processor left PROCESSING is taken up when it is old, before later ones",
          "[engines]") {
  Scene scene;
  const Processor processor{scene.outbox, scene.server.url(), scene.options};
  REQUIRE_WITHIN(10s, processor.active());
  scene.add("e1", "PROCESSING");
  scene.require_look();
  const auto next = scene.outbox.add("a");
  scene.passed = 59s;
  scene.require_look();
  CHECK(scene.status("e1") == "PROCESSING");
  CHECK(scene.status(next) == "PENDING");
  scene.set("e1", "PROCESSING", 59s);  // it lives
  scene.passed = 100s;
  scene.require_look();
  CHECK(scene.status("e1") == "PROCESSING");
  scene.passed = 119s + 1ms;
  REQUIRE_WITHIN(10s, scene.status(next) == "PUBLISHED");
  CHECK(scene.stream_of_a() == Ids{"e1", next});
}

TEST_CASE("events that wait for another processor's row go on soon after that is settled", "[engines]") {
  Scene scene;
  const Processor processor{scene.outbox, scene.server.url(), scene.options};
  REQUIRE_WITHIN(10s, processor.active());
  scene.add("e1", "PROCESSING");
  scene.add("e2", "PROCESSING");
  scene.require_look();
  const auto next = scene.outbox.add("a");
  scene.require_look();
  scene.set("e1", "PUBLISHED");
  scene.passed = 1s;
  scene.require_look();
  CHECK(scene.status("e2") == "PROCESSING");
  CHECK(scene.status(next) == "PENDING");
  SECTION("published") { scene.set("e2", "PUBLISHED"); }
  SECTION("refused") {
    scene.set("e2", "FAILED", 1s);
    scene.passed = 2s;
    scene.require_look();
    CHECK(scene.status("e2") == "FAILED");
    scene.passed = 25s;
    REQUIRE_WITHIN(10s, scene.status("e2") == "PUBLISHED");
  }
  scene.passed = 30s;
  REQUIRE_WITHIN(10s, scene.status(next) == "PUBLISHED");
  CHECK(scene.stream_of_a().back() == next);
}

TEST_CASE("a FAILED row that another processor tries again is left to it", "[engines]") {
  Scene scene;
  scene.add("e1", "FAILED");
  const Processor processor{scene.outbox, scene.server.url(), scene.options};
  REQUIRE_WITHIN(10s, processor.active());
  scene.set("e1", "PROCESSING", 20s);
  scene.outbox.execute("UPDATE outbox_event SET retryCount = 1");
  scene.passed = 21s;
  scene.require_look();
  CHECK(scene.status("e1") == "PROCESSING");
  scene.passed = 81s;
  REQUIRE_WITHIN(10s, scene.status("e1") == "PUBLISHED");
}

TEST_CASE("a processor that begins leaves a row to a live one, and takes up its own kind's at once",
          "[engines]") {
  Scene scene;
  scene.add("e1", "PROCESSING");
  const auto next = scene.outbox.add("a");
  const auto own = scene.outbox.add("b");
  scene.outbox.execute("UPDATE outbox_event SET status = 'PROCESSING', retryCount = 1, updatedAt = '" +
                       to_iso8601(scene.begun - 21s) + "' WHERE id = '" + own + "'");
  const Processor processor{scene.outbox, scene.server.url(), scene.options};
  REQUIRE_WITHIN(10s, scene.status(own) == "PUBLISHED");
  CHECK(scene.status("e1") == "PROCESSING");
  CHECK(scene.status(next) == "PENDING");
  scene.passed = 61s;
  REQUIRE_WITHIN(10s, scene.status(next) == "PUBLISHED");
  CHECK(scene.stream_of_a() == Ids{"e1", next});
}

TEST_CASE("a processor that drains waits for what another has left", "[engines]") {
  Scene scene;
  scene.options.drain = true;
  scene.options.processing_timeout = 300ms;
  scene.options.clock = now;
  const auto first = scene.outbox.add("b");
  scene.outbox.execute("UPDATE outbox_event SET status = 'FAILED', retryCount = 1, updatedAt = '" +
                       to_iso8601(now() + 1s) + "'");
  scene.options.backoff = {.base = 1s, .max = 1s};
  Processor processor{scene.outbox, scene.server.url(), scene.options};
  REQUIRE_WITHIN(10s, processor.active());
  scene.add("e1", "PROCESSING");
  processor.join();
  CHECK(scene.status(first) == "PUBLISHED");
  CHECK(scene.status("e1") == "PUBLISHED");
}
