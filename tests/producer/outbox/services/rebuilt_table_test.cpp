// A migration that copies the table under a running relay, as Prisma's do on SQLite (RedefineTables): all
// rows get other positions, and for a moment there is no table.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <functional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

namespace {

OutboxProcessorOptions patient() {
  OutboxProcessorOptions options;
  options.processing_interval = 100ms;
  options.backoff = {.base = 500ms, .max = 500ms};
  options.max_retries = 3;
  return options;
}

/// Statement by statement, each committed by itself: `meanwhile` is called while there is no table. Or,
/// without it, in one commit.
void redefine_table(const Outbox& outbox, const std::function<void()>& meanwhile) {
  const auto sql = [&](const std::string& name) {
    return outbox.text("SELECT sql FROM sqlite_master WHERE name = '" + name + "'");
  };
  auto create = sql("outbox_event");
  const std::string name = "\"outbox_event\"";
  create.replace(create.find(name), name.size(), "\"new_outbox_event\"");
  const auto indexes =
      sql("outbox_event_status_createdAt_idx") + ";" + sql("outbox_event_aggregateId_aggregateType_idx");
  const auto copy = create + "; INSERT INTO new_outbox_event SELECT * FROM outbox_event WHERE true;" +
                    "DROP TABLE outbox_event;";  // "WHERE true": not a plain copy
  const auto rename = "ALTER TABLE new_outbox_event RENAME TO outbox_event;" + indexes;
  if (!meanwhile) return outbox.execute("BEGIN; " + copy + rename + "; COMMIT");
  outbox.execute(copy);
  meanwhile();
  outbox.execute(rename);
}

}  // namespace

TEST_CASE(
    "a failed event is retried and not overtaken when a migration has copied the table under the relay") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox;
  outbox.add_many(50, 5);
  Processor processor{outbox, server.url(), patient()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 50);
  outbox.execute("DELETE FROM outbox_event WHERE rowid < 45");  // so that positions change
  const auto bad = outbox.add("a", "{}", "no subject");
  const std::vector<std::string> behind{outbox.add("a"), outbox.add("a")};
  REQUIRE_WITHIN(10s, outbox.value(bad, "status") == "FAILED");
  const auto before = outbox.number("SELECT rowid FROM outbox_event WHERE id = '" + bad + "'");
  if (GENERATE(true, false))
    redefine_table(outbox, {});
  else
    redefine_table(outbox, [&] { REQUIRE_WITHIN(5s, processor.phase() == Phase::waiting_for_database); });
  REQUIRE(outbox.number("SELECT rowid FROM outbox_event WHERE id = '" + bad + "'") < before);
  const auto last = outbox.add("b");
  REQUIRE_WITHIN(20s, outbox.count("status NOT IN ('PUBLISHED', 'DEAD_LETTER')") == 0);
  CHECK(processor.active());
  CHECK(outbox.value(bad, "status || retryCount") == "DEAD_LETTER3");
  CHECK(outbox.value(behind[0], "publishedAt") >= outbox.value(bad, "processedAt"));
  CHECK(outbox.value(last, "status") == "PUBLISHED");
  CHECK(jetstream.message_count("AUTH_EVENTS") == 53);
  processor.stop();
  CHECK(processor.error().empty());
}

TEST_CASE("a table that stays away ends the relay with what to do") {
  NatsServer server;
  Outbox outbox;
  outbox.add("a");
  Processor processor{outbox, server.url(), patient()};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 1);
  outbox.execute("DROP TABLE outbox_event");
  processor.join();
  CHECK_THAT(processor.error(), ContainsSubstring("run the service's migration"));
}
