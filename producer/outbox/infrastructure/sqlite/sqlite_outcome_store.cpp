#include "infrastructure/sqlite/sqlite_outcome_store.hpp"

#include "infrastructure/sqlite/statement_run.hpp"

#include <algorithm>

namespace tidings {
namespace {

/// What a mark may still change.
const std::string if_not_settled =
    " WHERE rowid = ?1 AND id = ?2 AND status IN ('PENDING', 'PROCESSING', 'FAILED')";

constexpr std::ptrdiff_t shortest_run = 8;

using Marks = std::vector<Outcome>::const_iterator;

/// The end of the published events from `mark` on whose positions follow each other without a gap.
Marks end_of_run(Marks mark, Marks end) {
  auto next = mark + 1;
  while (next != end && mark->status == RowStatus::published && next->status == RowStatus::published &&
         next->position.row == (next - 1)->position.row + 1)
    ++next;
  return next;
}

}  // namespace

struct SqliteOutcomeStore::Statements {
  explicit Statements(SQLite::Database& database)
      : mark_published(database,
                       "UPDATE outbox_event SET status = 'PUBLISHED', publishedAt = ?3, processedAt = ?3, "
                       "updatedAt = ?3, lastError = NULL" +
                           if_not_settled),
        // Again not by the index on status, which would be a walk through all that is pending.
        mark_run(
            database,
            "UPDATE outbox_event NOT INDEXED SET status = 'PUBLISHED', publishedAt = ?3, processedAt = ?3, "
            "updatedAt = ?3, lastError = NULL WHERE rowid BETWEEN ?1 AND ?2 AND status = 'PENDING'"),
        delete_run(
            database,
            "DELETE FROM outbox_event NOT INDEXED WHERE rowid BETWEEN ?1 AND ?2 AND status = 'PENDING'"),
        is_at(database, "SELECT 1 FROM outbox_event WHERE rowid = ?1 AND id = ?2"),
        newest(database, "SELECT max(rowid) FROM outbox_event"),
        delete_published(database, "DELETE FROM outbox_event" + if_not_settled +
                                       " AND rowid < (SELECT max(rowid) FROM outbox_event)"),
        mark_failed(
            database,
            "UPDATE outbox_event SET status = 'FAILED', retryCount = ?4, lastError = ?5, updatedAt = ?3" +
                if_not_settled),
        mark_dead_letter(database,
                         "UPDATE outbox_event SET status = 'DEAD_LETTER', retryCount = ?4, lastError = ?5, "
                         "processedAt = ?3, updatedAt = ?3" +
                             if_not_settled),
        mark_pending(database, "UPDATE outbox_event SET status = 'PENDING', updatedAt = ?3" + if_not_settled),
        // updatedAt stays: it says when the last attempt failed, and backoff is counted from there.
        mark_processing(database, "UPDATE outbox_event SET status = 'PROCESSING'" + if_not_settled),
        position(database, "SELECT rowid FROM outbox_event WHERE id = ?") {}

  SQLite::Statement mark_published, mark_run, delete_run, is_at, newest, delete_published, mark_failed,
      mark_dead_letter, mark_pending, mark_processing;
  SQLite::Statement position;
};

SqliteOutcomeStore::SqliteOutcomeStore(SqliteDatabase& database) : database_(database) {
  statements_ = attempt("use the outbox in " + database.name(),
                        [&] { return std::make_unique<Statements>(database.handle()); });
}

SqliteOutcomeStore::~SqliteOutcomeStore() = default;

int SqliteOutcomeStore::write(Transaction& transaction, const std::vector<Outcome>& marks,
                              bool delete_published) {
  database_.require_own(transaction);
  return attempt("write back what became of events", [&] {
    int published = 0;
    for (auto mark = marks.begin(); mark != marks.end();) {
      const auto end = end_of_run(mark, marks.end());
      Written run;
      if (end - mark >= shortest_run) run = write_run(*mark, *(end - 1), delete_published);
      published += run.published;
      // Fewer when some were retries, which are not PENDING: then each by itself, by its own rule.
      if (run.changed < end - mark)
        std::for_each(mark, end,
                      [&](const auto& one) { published += write_one(one, delete_published).published; });
      mark = end;
    }
    return published;
  });
}

/// Marks as published all rows from one to another whose positions follow each other without a gap: one
/// statement instead of thousands. Where VACUUM has renumbered rows it does nothing: the order of rows
/// outlives it, so if both ends are where they were, all between them are.
SqliteOutcomeStore::Written SqliteOutcomeStore::write_run(const Outcome& first, const Outcome& last,
                                                          bool delete_published) {
  if (!is_at(first) || !is_at(last)) return {};
  if (!delete_published) {
    const auto at = to_iso8601(last.at);
    const int marked =
        StatementRun{statements_->mark_run}.bind(first.position.row, last.position.row, at).exec();
    return {.changed = marked, .published = marked};
  }
  const bool ends_the_table = last.position.row == newest();
  const int deleted =
      StatementRun{statements_->delete_run}
          .bind(first.position.row, ends_the_table ? last.position.row - 1 : last.position.row)
          .exec();
  if (!ends_the_table) return {.changed = deleted};
  const auto kept = write_at(last.position.row, last, delete_published);
  return {.changed = deleted + kept.changed, .published = kept.published};
}

bool SqliteOutcomeStore::is_at(const Outcome& mark) {
  StatementRun run{statements_->is_at};
  return run.bind(mark.position.row, mark.id).next();
}

std::int64_t SqliteOutcomeStore::newest() {
  StatementRun run{statements_->newest};
  run.next();
  return run.column(0).getInt64();
}

SqliteOutcomeStore::Written SqliteOutcomeStore::write_one(const Outcome& mark, bool delete_published) {
  if (const auto written = write_at(mark.position.row, mark, delete_published); written.changed > 0)
    return written;
  // The row is settled or gone, or VACUUM has given it another rowid.
  std::int64_t position = 0;
  {
    StatementRun run{statements_->position};
    if (run.bind(mark.id).next()) position = run.column(0).getInt64();
  }
  return position == 0 ? Written{} : write_at(position, mark, delete_published);
}

SqliteOutcomeStore::Written SqliteOutcomeStore::write_at(std::int64_t position, const Outcome& mark,
                                                         bool delete_published) {
  const auto at = to_iso8601(mark.at);
  const auto error = mark.short_error();
  const auto run = [&](SQLite::Statement& statement, const auto&... values) {
    return StatementRun{statement}.bind(position, mark.id, values...).exec();
  };
  switch (mark.status) {
    case RowStatus::published: {
      if (delete_published && run(statements_->delete_published) > 0) return {.changed = 1};
      const int marked = run(statements_->mark_published, at);
      return {.changed = marked, .published = marked};
    }
    case RowStatus::failed:
      return {.changed = run(statements_->mark_failed, at, mark.retry_count, error)};
    case RowStatus::dead_letter:
      return {.changed = run(statements_->mark_dead_letter, at, mark.retry_count, error)};
    case RowStatus::pending:
      return {.changed = run(statements_->mark_pending, at)};
    case RowStatus::processing:
      return {.changed = run(statements_->mark_processing)};
  }
  return {};
}

}  // namespace tidings
