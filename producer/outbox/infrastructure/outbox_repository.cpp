#include "infrastructure/column_types.hpp"
#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/waiting_record.hpp"

#include <tidings/outbox_repository.hpp>

#include <algorithm>

namespace tidings {
namespace {

constexpr int examined_per_row = 10;  // by cleanup()

/// SQLite: no more than there is room for between the first row and the last, so that published rows which
/// somebody has deleted by hand do not count forever.
std::int64_t count_published(Database& database, const OutboxStats& stats) {
  if (!stats.processor)  // nobody has counted yet
    return database.exec("SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'").integer(0, 0);
  if (database.kind() != Database::Kind::sqlite) return stats.processor->published;
  const auto rows = database.exec(R"sql(
      SELECT (SELECT max(rowid) FROM outbox_event) - (SELECT min(rowid) FROM outbox_event) + 1)sql");
  const auto room = rows.integer(0, 0) - stats.pending - stats.processing - stats.failed - stats.dead_letter -
                    stats.unknown_status;
  return std::clamp<std::int64_t>(stats.processor->published, 0, std::max<std::int64_t>(0, room));
}

/// Empty before the first processor.
std::optional<ProcessorRecord> read_processor_record(Database& database) {
  return attempt("read the state of the outbox processor", [&]() -> std::optional<ProcessorRecord> {
    const auto rows = database.exec(R"sql(
        SELECT phase, since, trouble, "inFlight", published, "writtenAt", holder, epoch, "expiresAt"
        FROM outbox_state JOIN outbox_lease USING (name) WHERE name = 'outbox')sql");
    if (rows.empty()) return std::nullopt;
    const auto time = [&rows](std::size_t column) {
      return Timestamp{std::chrono::milliseconds{rows.integer(0, column)}};
    };
    return ProcessorRecord{.phase = parse_phase(rows.text(0, 0)),
                           .since = time(1),
                           .waiting_because = rows.text(0, 2),
                           .in_flight = rows.integer(0, 3),
                           .published = rows.integer(0, 4),
                           .written_at = time(5),
                           .holder = rows.text(0, 6),
                           .epoch = rows.integer(0, 7),
                           .expires_at = time(8)};
  });
}

/// PostgreSQL: why the lease has run out although its holder may live; it cannot write that itself. Empty
/// when nobody is about to write it.
std::string why_silent(Database& database) {
  if (database.kind() == Database::Kind::sqlite) return {};
  const auto rows = database.exec(R"sql(
      SELECT 'session ' || k.pid || ' (' || coalesce(nullif(a.application_name, ''), 'unknown') || ') ' ||
             CASE WHEN a.wait_event = 'SyncRep'
                  THEN 'waits for a standby with its commit: see synchronous_standby_names'
                  ELSE 'has not ended its write of the lease: ' || coalesce(a.wait_event, 'running') END
      FROM outbox_lease AS l
      JOIN pg_locks AS k ON k.locktype = 'transactionid' AND k.granted AND k.mode = 'ExclusiveLock'
                            AND k.transactionid = l.xmax
      LEFT JOIN pg_stat_activity AS a ON a.pid = k.pid
      WHERE l.name = 'outbox')sql");
  return rows.empty() ? std::string{} : rows.text(0, 0);
}

}  // namespace

OutboxRepository::OutboxRepository(Database& database) : database_(database) {
  attempt("use the outbox in " + database.name(), [&] { require_outbox_columns(database); });
}

std::optional<std::int64_t> OutboxRepository::read_data(OutboxEvent& event, std::int64_t limit) {
  return attempt("read the data of an event",
                 [&]() -> std::optional<std::int64_t> {
                   auto rows = database_.kind() == Database::Kind::postgresql
                                   ? database_.exec(R"sql(
        SELECT CASE WHEN octet_length("eventData"::text) <= $2 THEN "eventData" END,
               octet_length("eventData"::text)
        FROM outbox_event WHERE id = $1)sql",
                                                    event.id, limit)
                                   : database_.exec(R"sql(
        SELECT CASE WHEN length(CAST(eventData AS BLOB)) <= $3 THEN eventData END,
               length(CAST(eventData AS BLOB))
        FROM outbox_event WHERE id )sql" + outbox_columns::in_any_form,
                                                    event.id, outbox_columns::bytes_of_uuid(event.id), limit);
                   if (rows.empty()) return std::nullopt;
                   event.event_data = std::move(rows.cells.at(0)).value_or(std::string{});
                   event.data_is_read = true;
                   return rows.integer(0, 1);
                 });
}

std::int64_t OutboxRepository::count_pending() {
  return attempt("count pending events", [&] {
    return database_.exec("SELECT count(*) FROM outbox_event WHERE status = 'PENDING'").integer(0, 0);
  });
}

std::optional<Timestamp> OutboxRepository::oldest_pending() {
  return attempt("read the oldest pending event", [&]() -> std::optional<Timestamp> {
    const auto rows = database_.exec(R"sql(
        SELECT "createdAt" FROM outbox_event WHERE status = 'PENDING' ORDER BY "createdAt" LIMIT 1)sql");
    if (rows.empty()) return std::nullopt;
    return outbox_columns::read_time(rows.text(0, 0));
  });
}

OutboxRepository::Cleanup OutboxRepository::cleanup(Transaction& transaction, Timestamp before, int limit) {
  database_.require_own(transaction);
  limit = std::max(1, limit);
  return attempt("delete published events", [&] {
    Cleanup done;
    for (int count = 0; count < examined_per_row && done.deleted < limit; ++count) {
      const int wanted = limit - done.deleted;
      const auto page = delete_published(cleaned_, before, wanted);
      done.deleted += page.deleted;
      cleaned_ = page.examined < wanted ? OutboxPosition{} : page.last;
      if (page.examined < wanted) return done;
    }
    done.more = true;
    return done;
  });
}

std::optional<OutboxRow> OutboxRepository::find(const std::string& id) {
  return attempt("find an event", [&]() -> std::optional<OutboxRow> {
    const auto kind = database_.kind();
    const auto select = outbox_columns::select(kind, outbox_columns::Columns::row) + " WHERE id ";
    auto rows = outbox_columns::take_rows(
        kind == Database::Kind::postgresql
            ? database_.exec(select + "= $1", id)
            : database_.exec(select + outbox_columns::in_any_form, id, outbox_columns::bytes_of_uuid(id)),
        kind);
    if (rows.empty()) return std::nullopt;
    return std::move(rows.front());
  });
}

OutboxStats OutboxRepository::stats(int blocked_at_most) {
  const Transaction snapshot{database_, Transaction::Access::read};
  return attempt("count events", [&] {
    OutboxStats stats;
    const auto counts = database_.exec(R"sql(
        SELECT (SELECT count(*) FROM outbox_event WHERE status = 'PENDING'),
               (SELECT count(*) FROM outbox_event WHERE status = 'PROCESSING'),
               (SELECT count(*) FROM outbox_event WHERE status = 'FAILED'),
               (SELECT count(*) FROM outbox_event WHERE status = 'DEAD_LETTER'))sql");
    stats.pending = counts.integer(0, 0);
    stats.processing = counts.integer(0, 1);
    stats.failed = counts.integer(0, 2);
    stats.dead_letter = counts.integer(0, 3);
    stats.unknown_status = count_unknown_status();
    stats.oldest_pending = oldest_pending();
    stats.processor = read_processor_record(database_);
    if (stats.processor && stats.processor->waiting_because.empty() && stats.processor->expires_at < now())
      stats.processor->waiting_because = why_silent(database_);
    stats.published = count_published(database_, stats);
    const bool at_work = stats.processor && stats.processor->expires_at > database_.time();
    if (auto waiting = at_work ? std::nullopt : read_waiting_record(database_))
      stats.processor = std::move(waiting);
    const auto blocked = read_blocked(std::max(1, blocked_at_most));
    for (std::size_t row = 0; row < blocked.size(); ++row) {
      stats.blocked_aggregates = blocked.integer(row, 5);
      stats.blocked.push_back({.aggregate_type = blocked.text(row, 0),
                               .aggregate_id = blocked.text(row, 1),
                               .event_id = blocked.text(row, 2),
                               .retry_count = outbox_columns::read_count(blocked, row, 3),
                               .last_error = blocked.text(row, 4)});
    }
    return stats;
  });
}

}  // namespace tidings
