// Events that are large, many at a time: they go out, or become dead letters, without filling the memory.

#include "support/catch.hpp"
#include "support/engine.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sanitizers.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <fstream>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr int events = memory_is_measured ? 16 : 10;
constexpr int megabytes_each = 4;

/// The database makes them: the memory of this process is what is measured.
void add_large(const Outbox& outbox, int number) {
  const std::string text =
      outbox.engine() == Engine::sqlite ? "hex(zeroblob(2000000))" : "repeat('x', 4000000)";
  const std::string data = "'{\"data\": \"' || " + text + " || '\"}'";
  outbox.execute(
      "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, updatedAt) "
      "VALUES ('" +
      std::to_string(number + 100) + "', 'a" + std::to_string(number % 10) + "', 'User', 'user.created', " +
      (outbox.engine() == Engine::sqlite ? data : "CAST(" + data + " AS jsonb)") +
      ", '2026-03-01 10:00:00', '2026-03-01 10:00:00')");
}

/// The most that this process has had in memory, in MB.
long peak_memory() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stol(line.substr(6)) / 1024;
  return 0;
}

void forget_peak() { std::ofstream{"/proc/self/clear_refs"} << "5"; }

}  // namespace

TEST_CASE("large events fill no memory: they go out, or are dead letters where the server does not take them",
          "[engines]") {
  const bool taken = GENERATE(true, false);
  CAPTURE(taken);
  NatsServer server{
      {.config = taken ? "max_payload: 8MB" : "", .arguments = {}, .jetstream = true, .monitoring = false}};
  JetStream jetstream{server.url()};
  Outbox outbox{engine_under_test()};
  for (int i = 0; i < events; ++i) add_large(outbox, i);
  outbox.add("small");
  forget_peak();
  const auto before = peak_memory();
  auto options = quick();
  options.processing_interval = 100ms;
  options.max_retries = 2;  // SQLite writes all 4 MB of a row at each
  Processor processor{outbox, server.url(), options};
  REQUIRE_WITHIN(60s, outbox.count("status NOT IN ('PUBLISHED', 'DEAD_LETTER')") == 0);
  // What is sent is kept until nats.c's thread comes to free it.
  if (memory_is_measured) CHECK(peak_memory() - before < events * megabytes_each * (taken ? 4 : 1) / 2);
  CHECK(processor.active());
  CHECK(jetstream.message_count("AUTH_EVENTS") == (taken ? events + 1U : 1U));
  const auto reasons =
      outbox.column("SELECT DISTINCT lastError FROM outbox_event WHERE status = 'DEAD_LETTER'");
  REQUIRE(reasons.size() == (taken ? 0U : 1U));
  if (!taken)
    CHECK_THAT(reasons[0],
               ContainsSubstring("bytes, larger than the server takes (max_payload 1048576 bytes)"));
}
