#include "infrastructure/postgres/postgres_outbox_repository.hpp"

#include "infrastructure/postgres/postgres_columns.hpp"
#include "infrastructure/processor_record_row.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using namespace postgres_columns;

// The clock's time, or where the aggregate has a row of this millisecond already, a time that puts this one
// behind it. The aggregate is compared as an expression, for which there is no index: the few rows of a
// millisecond are found by status and createdAt, where an aggregate may have a million rows.
const std::string insert = R"sql(
    INSERT INTO outbox_event (id, "aggregateId", "aggregateType", "eventType", "eventData", "eventVersion",
                              "occurredAt", "createdAt", "updatedAt")
    SELECT $1::text, $2::text, $3::text, $4, $5::jsonb, $6::integer, $7::timestamp, at.time, at.time
    FROM (SELECT CASE WHEN last.id IS NULL THEN clock.time
                      WHEN last.id COLLATE "C" < $1 THEN last.time
                      ELSE last.time + interval '1 millisecond' END AS time
          FROM (SELECT date_trunc('milliseconds', clock_timestamp() AT TIME ZONE 'UTC') AS time) AS clock
          LEFT JOIN LATERAL (SELECT id, "createdAt" AS time FROM outbox_event
                             WHERE status IN ('PENDING', 'PUBLISHED', 'FAILED', 'PROCESSING', 'DEAD_LETTER')
                               AND "createdAt" >= clock.time
                               AND "aggregateId" || '' = $2 AND "aggregateType" || '' = $3
                             ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT 1) AS last ON true) AS at)sql";

constexpr int examined_per_row = 10;  // by cleanup()

std::vector<OutboxRow> read_rows(const PostgresRows& rows) {
  std::vector<OutboxRow> all;
  for (int number = 0; number < rows.size(); ++number) all.push_back(read_row(rows, number));
  return all;
}

}  // namespace

PostgresOutboxRepository::PostgresOutboxRepository(PostgresDatabase& database)
    : database_(database), scans_(database) {
  attempt("use the outbox in " + database.name(),
          [&] { database_.query("SELECT " + postgres_columns::row + " FROM outbox_event LIMIT 0"); });
}

void PostgresOutboxRepository::add(Transaction& transaction, const DomainEvent& added) {
  database_.require_own(transaction);
  database_.queue(insert, added.id, added.aggregate_id, added.aggregate_type, added.event_type,
                  added.event_data(), added.event_version, to_iso8601(added.occurred_at));
  database_.wake_relay_at_commit();
}

bool PostgresOutboxRepository::rewind() {
  scans_.start_over();
  return oldest_pending().has_value();
}

void PostgresOutboxRepository::read_pending(int limit, std::vector<OutboxEvent>& out) {
  attempt("read pending events", [&] { scans_.read(limit, out); });
}

std::vector<OutboxEvent> PostgresOutboxRepository::read_aggregate(const AggregateRows& wanted, int limit) {
  return attempt("read the events of an aggregate", [&] {
    const auto rows = database_.query("SELECT " + event + R"sql(
        FROM outbox_event
        WHERE "aggregateId" = $1 AND "aggregateType" = $2 AND status IN ('PENDING', 'PROCESSING', 'FAILED')
          AND (("createdAt", id COLLATE "C") > ($3::timestamp, $4::text) OR ($5 AND id = $4)))sql" +
                                          in_order + " LIMIT $6",
                                      wanted.aggregate_id, wanted.aggregate_type,
                                      wanted.after.created_at.empty() ? beginning : wanted.after.created_at,
                                      wanted.after.id, wanted.with_first, limit);
    std::vector<OutboxEvent> read;
    for (int row = 0; row < rows.size(); ++row) {
      read.push_back(read_event(rows, row));
      // Also when read_pending() has not reached it yet.
      scans_.was_given(read.back().id, read_transaction(rows, row));
    }
    return read;
  });
}

std::vector<OutboxEvent> PostgresOutboxRepository::read_retries(const OutboxPosition& after, int limit) {
  return attempt("read failed events", [&] {
    const auto rows =
        database_.query("SELECT " + header + R"sql(
            FROM outbox_event
            WHERE status IN ('FAILED', 'PROCESSING')
              AND ("createdAt", id COLLATE "C") > ($1::timestamp, $2::text))sql" +
                            in_order + " LIMIT $3",
                        after.created_at.empty() ? beginning : after.created_at, after.id, limit);
    std::vector<OutboxEvent> read;
    for (int row = 0; row < rows.size(); ++row) read.push_back(read_header(rows, row));
    return read;
  });
}

std::int64_t PostgresOutboxRepository::count_pending() {
  return attempt("count pending events", [&] {
    return database_.query("SELECT count(*) FROM outbox_event WHERE status = 'PENDING'").integer(0, 0);
  });
}

std::optional<Timestamp> PostgresOutboxRepository::oldest_pending() {
  return attempt("read the oldest pending event", [&]() -> std::optional<Timestamp> {
    const auto rows = database_.query(R"sql(
        SELECT "createdAt" FROM outbox_event WHERE status = 'PENDING' ORDER BY "createdAt" LIMIT 1)sql");
    if (rows.empty()) return std::nullopt;
    return read_time(rows.text(0, 0));
  });
}

/// publishedAt has no index, but createdAt <= publishedAt: see PublishedRows, which does the same for SQLite.
OutboxRepository::Cleanup PostgresOutboxRepository::cleanup(Transaction& transaction, Timestamp before,
                                                            int limit) {
  database_.require_own(transaction);
  limit = std::max(1, limit);
  return attempt("delete published events", [&] {
    const auto limit_time = to_iso8601(before);
    Cleanup done;
    for (int page = 0; page < examined_per_row && done.deleted < limit; ++page) {
      const int wanted = limit - done.deleted;
      // A foreign writer may leave publishedAt empty; updatedAt then says when it was published.
      const auto rows = database_.query(
          R"sql(
          WITH page AS MATERIALIZED (
              SELECT id, "createdAt", coalesce("publishedAt", "updatedAt") AS at
              FROM outbox_event
              WHERE status = 'PUBLISHED' AND "createdAt" >= $1::timestamp AND "createdAt" < $3::timestamp
                AND ("createdAt", id COLLATE "C") > ($1::timestamp, $2::text)
              ORDER BY "createdAt", id COLLATE "C" LIMIT $4),
          gone AS (
              DELETE FROM outbox_event USING page
              WHERE outbox_event.id = page.id AND page.at < $3::timestamp RETURNING 1)
          SELECT "createdAt", id, (SELECT count(*) FROM gone), (SELECT count(*) FROM page)
          FROM page ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT 1)sql",
          cleaned_.created_at.empty() ? beginning : cleaned_.created_at, cleaned_.id, limit_time, wanted);
      if (rows.empty() || rows.integer(0, 3) < wanted) {
        if (!rows.empty()) done.deleted += static_cast<int>(rows.integer(0, 2));
        cleaned_ = {};
        return done;
      }
      done.deleted += static_cast<int>(rows.integer(0, 2));
      cleaned_ = {std::string{rows.text(0, 0)}, std::string{rows.text(0, 1)}};
    }
    done.more = true;
    return done;
  });
}

std::vector<OutboxRow> PostgresOutboxRepository::list(std::optional<RowStatus> wanted, int limit) {
  return attempt("list events", [&] {
    const std::string newest_first = R"sql( ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT $1)sql";
    if (wanted)
      return read_rows(database_.query(
          "SELECT " + postgres_columns::row +
              R"sql( FROM outbox_event WHERE status = $2::"OutboxEventStatus")sql" + newest_first,
          limit, to_string(*wanted)));
    // The newest of each status, by the index on (status, createdAt): createdAt alone has none.
    return read_rows(database_.query(
        R"sql(SELECT newest.* FROM unnest(enum_range(NULL::"OutboxEventStatus")) AS each, LATERAL (SELECT )sql" +
            postgres_columns::row + " FROM outbox_event WHERE status = each" + newest_first + ") AS newest" +
            newest_first,
        limit));
  });
}

std::optional<OutboxRow> PostgresOutboxRepository::find(const std::string& wanted) {
  return attempt("find an event", [&]() -> std::optional<OutboxRow> {
    const auto rows =
        database_.query("SELECT " + postgres_columns::row + " FROM outbox_event WHERE id = $1", wanted);
    if (rows.empty()) return std::nullopt;
    return read_row(rows, 0);
  });
}

OutboxStats PostgresOutboxRepository::stats(int blocked_at_most) {
  OutboxStats stats;
  database_.transact([&](Transaction&) {
    attempt("count events", [&] {
      database_.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
      const auto counts = database_.query(R"sql(
          SELECT (SELECT count(*) FROM outbox_event WHERE status = 'PENDING'),
                 (SELECT count(*) FROM outbox_event WHERE status = 'PROCESSING'),
                 (SELECT count(*) FROM outbox_event WHERE status = 'FAILED'),
                 (SELECT count(*) FROM outbox_event WHERE status = 'DEAD_LETTER'))sql");
      stats.pending = counts.integer(0, 0);
      stats.processing = counts.integer(0, 1);
      stats.failed = counts.integer(0, 2);
      stats.dead_letter = counts.integer(0, 3);
      stats.oldest_pending = oldest_pending();
      stats.processor = read_processor_record(database_);
      if (stats.processor)
        stats.published = stats.processor->published;
      else  // nobody has counted yet
        stats.published =
            database_.query("SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'").integer(0, 0);
      const auto blocked = database_.query(R"sql(
          SELECT "aggregateType", "aggregateId", id, "retryCount", "lastError", count(*) OVER ()
          FROM (SELECT DISTINCT ON ("aggregateId", "aggregateType") * FROM outbox_event
                WHERE status IN ('FAILED', 'PROCESSING')
                ORDER BY "aggregateId", "aggregateType", "createdAt", id COLLATE "C") AS heads)sql" +
                                               in_order + " LIMIT $1",
                                           std::max(1, blocked_at_most));
      for (int row = 0; row < blocked.size(); ++row) {
        stats.blocked_aggregates = blocked.integer(row, 5);
        stats.blocked.push_back({.aggregate_type = std::string{blocked.text(row, 0)},
                                 .aggregate_id = std::string{blocked.text(row, 1)},
                                 .event_id = std::string{blocked.text(row, 2)},
                                 .retry_count = read_count(blocked, row, 3),
                                 .last_error = std::string{blocked.text(row, 4)}});
      }
    });
  });
  return stats;
}

}  // namespace tidings
