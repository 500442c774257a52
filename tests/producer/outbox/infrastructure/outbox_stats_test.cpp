#include "infrastructure/outcome.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_repository.hpp>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

namespace {

ProcessorStatus active() {
  ProcessorStatus status;
  status.phase = ProcessorStatus::Phase::active;
  status.since = now();
  return status;
}

/// As the OutcomeWriter does: in one transaction with the processor's record.
void publish_all_pending(Outbox& outbox, bool delete_published = false) {
  std::vector<OutboxEvent> events;
  outbox.repository().rewind();
  outbox.repository().read_pending(1000, events);
  std::vector<Outcome> outcomes;
  for (const auto& event : events)
    outcomes.push_back({.position = event.position, .id = event.id, .error = {}, .at = now()});
  outbox.database().transact([&](Transaction& transaction) {
    write_processor_record(transaction, active(), write_outcomes(transaction, outcomes, delete_published));
  });
}

void clean_up(Outbox& outbox, int limit) {
  outbox.database().transact([&](Transaction& transaction) {
    const auto done = outbox.repository().cleanup(transaction, now() + 1h, limit);
    write_processor_record(transaction, active(), -done.deleted);
  });
}

/// Stands in for the lease that a processor has.
void take_lease(Outbox& outbox) {
  outbox.execute("INSERT INTO outbox_lease VALUES ('outbox', 'me', 3, 0, 4102444800000)");
}

std::int64_t published(Outbox& outbox) { return outbox.repository().stats().published; }

}  // namespace

TEST_CASE("the count of published rows follows outcomes and cleanup, from what was there before") {
  Outbox outbox;
  take_lease(outbox);
  outbox.add_many(20, 3, "old-");
  outbox.execute("UPDATE outbox_event SET status = 'PUBLISHED', publishedAt = createdAt");
  CHECK(published(outbox) == 20);  // nobody has counted yet
  outbox.add_many(50, 7);
  publish_all_pending(outbox);
  CHECK(published(outbox) == 70);
  outbox.add("single");
  publish_all_pending(outbox);
  CHECK(published(outbox) == 71);
  clean_up(outbox, 30);
  CHECK(published(outbox) == 41);
  CHECK(outbox.count_status("PUBLISHED") == 41);
}

TEST_CASE(
    "rows that are deleted instead of kept as published are not counted, but for the newest, which stays") {
  Outbox outbox;
  take_lease(outbox);
  publish_all_pending(outbox);
  for (int round = 0; round < 3; ++round) {
    outbox.add_many(20, 3);
    publish_all_pending(outbox, true);
    CHECK(published(outbox) == outbox.count_status("PUBLISHED"));
  }
}

TEST_CASE("published rows that somebody deleted by hand do not count for ever") {
  Outbox outbox;
  take_lease(outbox);
  outbox.add_many(50, 7);
  publish_all_pending(outbox);
  outbox.execute("DELETE FROM outbox_event WHERE status = 'PUBLISHED'");
  CHECK(published(outbox) == 0);
  outbox.add("next");
  CHECK(published(outbox) == 0);
}

TEST_CASE("stats cost no more beside many published rows than beside few") {
  Outbox outbox;
  take_lease(outbox);
  const auto steps = [&] {
    int count = 0;
    sqlite3_progress_handler(
        dynamic_cast<SqliteDatabase&>(outbox.database()).handle().getHandle(), 1,
        [](void* counter) { return ++*static_cast<int*>(counter), 0; }, &count);
    const auto stats = outbox.repository().stats();
    sqlite3_progress_handler(dynamic_cast<SqliteDatabase&>(outbox.database()).handle().getHandle(), 0,
                             nullptr, nullptr);
    CHECK(stats.pending == 5);
    return count;
  };
  outbox.add_many(20, 3);
  publish_all_pending(outbox);
  outbox.add_many(5, 5, "waiting-");
  const auto beside_few = steps();
  outbox.execute(
      "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
      "INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, occurredAt, status, "
      "updatedAt) SELECT 'p' || i, 'p' || i, 'User', 't', '{}', '', 'PUBLISHED', '' FROM n");
  CHECK(steps() <= beside_few + 50);
}
