#include "infrastructure/sqlite/sqlite_outcome_store.hpp"

#include "database/statement_run.hpp"

#include <algorithm>

namespace tidings {
namespace {

/// The row of an outcome, unless it is settled already.
const std::string row_not_settled = R"sql(
    WHERE rowid = ?1 AND id = ?2 AND status IN ('PENDING', 'PROCESSING', 'FAILED'))sql";

constexpr std::ptrdiff_t shortest_run = 8;

using Iterator = std::vector<Outcome>::const_iterator;

/// The end of the published events from `begin` on whose positions follow each other without a gap.
Iterator end_of_run(Iterator begin, Iterator end) {
  auto next = begin + 1;
  while (next != end && begin->status == RowStatus::published && next->status == RowStatus::published &&
         next->position.row == (next - 1)->position.row + 1)
    ++next;
  return next;
}

}  // namespace

struct SqliteOutcomeStore::Statements {
  explicit Statements(SQLite::Database& database)
      : set_published(database, R"sql(
            UPDATE outbox_event
            SET status = 'PUBLISHED', publishedAt = ?3, processedAt = ?3, updatedAt = ?3, lastError = NULL)sql" +
                                    row_not_settled),
        // NOT INDEXED: by the index on status these two would walk through everything that is pending.
        set_run_published(database, R"sql(
            UPDATE outbox_event NOT INDEXED
            SET status = 'PUBLISHED', publishedAt = ?3, processedAt = ?3, updatedAt = ?3, lastError = NULL
            WHERE rowid BETWEEN ?1 AND ?2 AND status = 'PENDING')sql"),
        delete_run(database, R"sql(
            DELETE FROM outbox_event NOT INDEXED WHERE rowid BETWEEN ?1 AND ?2 AND status = 'PENDING')sql"),
        is_at(database, "SELECT 1 FROM outbox_event WHERE rowid = ?1 AND id = ?2"),
        newest(database, "SELECT max(rowid) FROM outbox_event"),
        delete_published(database, "DELETE FROM outbox_event" + row_not_settled +
                                       " AND rowid < (SELECT max(rowid) FROM outbox_event)"),
        set_failed(database, R"sql(
            UPDATE outbox_event SET status = 'FAILED', retryCount = ?4, lastError = ?5, updatedAt = ?3)sql" +
                                 row_not_settled),
        set_dead_letter(database, R"sql(
            UPDATE outbox_event
            SET status = 'DEAD_LETTER', retryCount = ?4, lastError = ?5, processedAt = ?3, updatedAt = ?3)sql" +
                                      row_not_settled),
        set_pending(database, "UPDATE outbox_event SET status = 'PENDING', updatedAt = ?3" + row_not_settled),
        // updatedAt stays: it says when the last attempt failed, and backoff is counted from there.
        set_processing(database, "UPDATE outbox_event SET status = 'PROCESSING'" + row_not_settled),
        position(database, "SELECT rowid FROM outbox_event WHERE id = ?") {}

  SQLite::Statement set_published, set_run_published, delete_run, is_at, newest, delete_published, set_failed,
      set_dead_letter, set_pending, set_processing, position;
};

SqliteOutcomeStore::SqliteOutcomeStore(SqliteDatabase& database) : database_(database) {
  statements_ = attempt("use the outbox in " + database.name(),
                        [&] { return std::make_unique<Statements>(database.handle()); });
}

SqliteOutcomeStore::~SqliteOutcomeStore() = default;

int SqliteOutcomeStore::write(Transaction& transaction, const std::vector<Outcome>& outcomes,
                              bool delete_published) {
  database_.require_own(transaction);
  return attempt("write back what became of events", [&] {
    int published = 0;
    for (auto begin = outcomes.begin(); begin != outcomes.end();) {
      const auto end = end_of_run(begin, outcomes.end());
      Written run;
      if (end - begin >= shortest_run) run = write_run(*begin, *(end - 1), delete_published);
      published += run.published;
      // Fewer when some were retries, which are not PENDING: then each by itself, by its own rule.
      if (run.changed < end - begin)
        std::for_each(begin, end,
                      [&](const auto& one) { published += write_one(one, delete_published).published; });
      begin = end;
    }
    return published;
  });
}

/// Sets to PUBLISHED all rows from one to another whose positions follow each other without a gap: one
/// statement instead of thousands. Does nothing where VACUUM has renumbered rows: it keeps their order, so
/// when both ends are where they were, everything between them is.
SqliteOutcomeStore::Written SqliteOutcomeStore::write_run(const Outcome& first, const Outcome& last,
                                                          bool delete_published) {
  if (!is_at(first) || !is_at(last)) return {};
  if (!delete_published) {
    const auto at = to_iso8601(last.at);
    const int published =
        StatementRun{statements_->set_run_published}.bind(first.position.row, last.position.row, at).exec();
    return {.changed = published, .published = published};
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

bool SqliteOutcomeStore::is_at(const Outcome& outcome) {
  StatementRun run{statements_->is_at};
  return run.bind(outcome.position.row, outcome.id).next();
}

std::int64_t SqliteOutcomeStore::newest() {
  StatementRun run{statements_->newest};
  run.next();
  return run.column(0).getInt64();
}

SqliteOutcomeStore::Written SqliteOutcomeStore::write_one(const Outcome& outcome, bool delete_published) {
  if (const auto written = write_at(outcome.position.row, outcome, delete_published); written.changed > 0)
    return written;
  // The row is settled or gone, or VACUUM has given it another rowid.
  std::int64_t position = 0;
  {
    StatementRun run{statements_->position};
    if (run.bind(outcome.id).next()) position = run.column(0).getInt64();
  }
  return position == 0 ? Written{} : write_at(position, outcome, delete_published);
}

SqliteOutcomeStore::Written SqliteOutcomeStore::write_at(std::int64_t position, const Outcome& outcome,
                                                         bool delete_published) {
  const auto at = to_iso8601(outcome.at);
  const auto error = outcome.short_error();
  const auto run = [&](SQLite::Statement& statement, const auto&... values) {
    return StatementRun{statement}.bind(position, outcome.id, values...).exec();
  };
  switch (outcome.status) {
    case RowStatus::published: {
      if (delete_published && run(statements_->delete_published) > 0) return {.changed = 1};
      const int published = run(statements_->set_published, at);
      return {.changed = published, .published = published};
    }
    case RowStatus::failed:
      return {.changed = run(statements_->set_failed, at, outcome.retry_count, error)};
    case RowStatus::dead_letter:
      return {.changed = run(statements_->set_dead_letter, at, outcome.retry_count, error)};
    case RowStatus::pending:
      return {.changed = run(statements_->set_pending, at)};
    case RowStatus::processing:
      return {.changed = run(statements_->set_processing)};
  }
  return {};
}

}  // namespace tidings
