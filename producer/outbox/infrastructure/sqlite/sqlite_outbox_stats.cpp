#include "database/statement_run.hpp"
#include "infrastructure/processor_record_row.hpp"
#include "infrastructure/sqlite/sqlite_outbox_repository.hpp"

#include <algorithm>

namespace tidings {
namespace {

/// Everything that is read during its life is as of one moment.
class Snapshot {
 public:
  explicit Snapshot(SQLite::Database& database) : database_(database) { database_.exec("BEGIN"); }
  ~Snapshot() { database_.tryExec("ROLLBACK"); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

 private:
  SQLite::Database& database_;
};

std::int64_t count(SQLite::Database& database, RowStatus status) {
  SQLite::Statement statement{database, "SELECT count(*) FROM outbox_event WHERE status = ?"};
  StatementRun run{statement};
  run.bind(to_string(status)).next();
  return run.column(0).getInt64();
}

/// No more than there is room for between the first row and the last: published rows that somebody has
/// deleted by hand do not count for ever.
std::int64_t published(SQLite::Database& database, const OutboxStats& stats) {
  if (!stats.processor) return count(database, RowStatus::published);  // nobody has counted yet
  SQLite::Statement statement{database, R"sql(
      SELECT ifnull((SELECT max(rowid) FROM outbox_event) - (SELECT min(rowid) FROM outbox_event) + 1, 0))sql"};
  StatementRun run{statement};
  run.next();
  const auto others = stats.pending + stats.processing + stats.failed + stats.dead_letter;
  return std::clamp<std::int64_t>(stats.processor->published, 0,
                                  std::max<std::int64_t>(0, run.column(0).getInt64() - others));
}

void read_blocked(SQLite::Database& database, OutboxStats& stats, int at_most) {
  // The first row of each aggregate: the bare columns are those of the row with min() in SQLite.
  SQLite::Statement statement{database, R"sql(
      SELECT aggregateType, aggregateId, id, retryCount, lastError, count(*) OVER ()
      FROM (SELECT aggregateType, aggregateId, id, retryCount, lastError, min(rowid) AS first
            FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx
            WHERE status IN ('FAILED', 'PROCESSING') GROUP BY aggregateId, aggregateType)
      ORDER BY first LIMIT ?)sql"};
  StatementRun run{statement};
  run.bind(at_most);
  while (run.next()) {
    stats.blocked_aggregates = run.column(5).getInt64();
    stats.blocked.push_back({.aggregate_type = read_text(run.column(0)),
                             .aggregate_id = read_text(run.column(1)),
                             .event_id = read_text(run.column(2)),
                             .retry_count = run.column(3).getInt(),
                             .last_error = read_text(run.column(4))});
  }
}

}  // namespace

OutboxStats SqliteOutboxRepository::stats(int blocked_at_most) {
  return attempt("count events", [&] {
    auto& handle = database_.handle();
    const Snapshot snapshot{handle};
    OutboxStats stats;
    stats.pending = count(handle, RowStatus::pending);
    stats.processing = count(handle, RowStatus::processing);
    stats.failed = count(handle, RowStatus::failed);
    stats.dead_letter = count(handle, RowStatus::dead_letter);
    stats.oldest_pending = oldest_pending();
    stats.processor = read_processor_record(database_);
    stats.published = published(handle, stats);
    read_blocked(handle, stats, std::max(1, blocked_at_most));
    return stats;
  });
}

}  // namespace tidings
