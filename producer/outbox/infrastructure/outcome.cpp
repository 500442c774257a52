#include "infrastructure/outcome.hpp"

#include "event/valid_utf8.hpp"
#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/postgres/postgres_outcomes.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace tidings {
namespace {

using Iterator = std::vector<Outcome>::const_iterator;

constexpr std::size_t longest_error = 1000;
constexpr std::ptrdiff_t fewest_in_one_statement = 8;

/// Ends the conditions of each statement: settled rows stay as they are.
const std::string and_not_settled = " AND status IN ('PENDING', 'PROCESSING', 'FAILED')";

/// SQLite: whatever type the id is of. $1 is the id as it was read, $2 its bytes_of_uuid(), $3 the position.
const std::string is_at_its_position =
    "rowid = $3 AND (coalesce(CAST(id AS TEXT), '') = $1 OR id = CAST(nullif($2, '') AS BLOB))";

const std::string set_published = R"sql(
    UPDATE outbox_event
    SET status = 'PUBLISHED', "publishedAt" = $2, "processedAt" = $2, "updatedAt" = $2, "lastError" = NULL)sql";

bool is_published(const Outcome& outcome) { return outcome.status == RowStatus::published; }

/// SQLite: the PENDING rows from `first` on and before `last`. NOT INDEXED: by the index on status these two
/// would walk through everything that is pending.
std::int64_t write_between(Database& database, const Outcome& first, const Outcome& last,
                           bool delete_published) {
  const std::string rows = " WHERE rowid >= $1 AND rowid < $2 AND status = 'PENDING'";
  const auto begin = first.position.row, end = last.position.row;
  if (delete_published)
    return database.exec("DELETE FROM outbox_event NOT INDEXED" + rows, begin, end).affected;
  const std::string set = R"sql(
      UPDATE outbox_event NOT INDEXED
      SET status = 'PUBLISHED', publishedAt = $3, processedAt = $3, updatedAt = $3, lastError = NULL)sql";
  return database.exec(set + rows, begin, end, to_iso8601(last.at)).affected;
}

/// SQLite: the row that was read, where it stands now; empty when it is gone or settled.
std::optional<std::int64_t> find_unsettled(Database& database, const Outcome& outcome) {
  static const auto statement = "SELECT rowid FROM outbox_event WHERE " + is_at_its_position +
                                and_not_settled + " UNION ALL SELECT rowid FROM outbox_event WHERE id " +
                                outbox_columns::in_any_form + and_not_settled + " LIMIT 1";
  const auto found =
      database.exec(statement, outcome.id, outbox_columns::bytes_of_uuid(outcome.id), outcome.position.row);
  return found.empty() ? std::nullopt : std::optional{found.integer(0, 0)};
}

/// A row that stays as it is would be published again and again.
void require_changed(std::int64_t rows, const Outcome& outcome) {
  if (rows == 0)
    throw SqlError("the row of event " + outcome.id +
                   " does not change; look for a trigger of outbox_event that ignores updates");
}

/// SQLite. Returns how many rows have become PUBLISHED.
int write_one(Database& database, const Outcome& outcome, bool delete_published) {
  const auto row = find_unsettled(database, outcome);
  if (!row) return 0;
  if (delete_published &&
      database.exec(
                  "DELETE FROM outbox_event WHERE rowid = $1 AND rowid < (SELECT max(rowid) FROM outbox_event)",
                  *row)
              .affected > 0)
    return 0;
  const auto changed = database.exec(set_published + " WHERE rowid = $1", *row, to_iso8601(outcome.at));
  require_changed(changed.affected, outcome);
  return static_cast<int>(changed.affected);
}

bool stands(Database& database, const Outcome& outcome) {
  static const auto statement = "SELECT 1 FROM outbox_event WHERE " + is_at_its_position;
  return !database
              .exec(statement, outcome.id, outbox_columns::bytes_of_uuid(outcome.id), outcome.position.row)
              .empty();
}

/// SQLite: rows whose positions follow each other without a gap: one statement instead of thousands.
int write_run(Database& database, Iterator begin, Iterator end, bool delete_published) {
  const auto last = end - 1;
  int published = 0;
  // VACUUM may have renumbered rows, in the same order: when both ends are where they were, all between them
  // is.
  if (end - begin >= fewest_in_one_statement && stands(database, *begin) && stands(database, *last)) {
    const auto changed = write_between(database, *begin, *last, delete_published);
    if (!delete_published) published = static_cast<int>(changed);
    // Fewer when some were retries, which are not PENDING: then each by itself, by its own rule. The last
    // always is: it may be the table's newest, which must not be deleted.
    if (changed == last - begin) begin = last;
  }
  std::for_each(begin, end,
                [&](const auto& one) { published += write_one(database, one, delete_published); });
  return published;
}

int write_published_to_sqlite(Database& database, Iterator begin, Iterator end, bool delete_published) {
  int published = 0;
  while (begin != end) {
    const auto gap = std::adjacent_find(begin, end, [](const Outcome& one, const Outcome& next) {
      return next.position.row != one.position.row + 1;
    });
    const auto end_of_run = gap == end ? end : gap + 1;
    published += write_run(database, begin, end_of_run, delete_published);
    begin = end_of_run;
  }
  return published;
}

int write_published_to_postgres(Database& database, Iterator begin, Iterator end, bool delete_published) {
  const auto changed = postgres_outcomes::write_published(database, {begin, end}, delete_published);
  return delete_published ? 0 : static_cast<int>(changed);
}

/// `row` is the condition on $1, which is `key`. Returns how many rows have changed.
template <class Key>
std::int64_t write_other(Database& database, const Outcome& outcome, const std::string& row, const Key& key) {
  // updatedAt stays: it says when the last attempt failed, and backoff is counted from there.
  if (outcome.status == RowStatus::processing)
    return database.exec("UPDATE outbox_event SET status = 'PROCESSING'" + row, key).affected;
  const bool dead = outcome.status == RowStatus::dead_letter;
  auto error = valid_utf8(outcome.error);
  cut_utf8(error, longest_error);
  const std::string set = R"sql(
      UPDATE outbox_event
      SET "retryCount" = $2, "lastError" = $3, "updatedAt" = $4, status = )sql" +
                          std::string{dead ? R"sql('DEAD_LETTER', "processedAt" = $4)sql" : "'FAILED'"} + row;
  return database.exec(set, key, outcome.retry_count, error, to_iso8601(outcome.at)).affected;
}

void write_other(Database& database, const Outcome& outcome) {
  if (database.kind() == Database::Kind::postgresql) {
    const auto row = " WHERE id = $1 AND " + postgres_outcomes::not_settled;
    if (write_other(database, outcome, row, outcome.id) == 0)
      postgres_outcomes::require_changed(database, outcome);
    return;
  }
  if (const auto row = find_unsettled(database, outcome))
    require_changed(write_other(database, outcome, " WHERE rowid = $1", *row), outcome);
}

}  // namespace

int write_outcomes(Transaction& transaction, const std::vector<Outcome>& outcomes, bool delete_published) {
  auto& database = transaction.database();
  const auto write_published =
      database.kind() == Database::Kind::sqlite ? write_published_to_sqlite : write_published_to_postgres;
  return attempt("write back what became of events", [&] {
    int published = 0;
    for (auto outcome = outcomes.begin(); outcome != outcomes.end();) {
      const auto end = std::find_if_not(outcome, outcomes.end(), is_published);
      if (end != outcome) published += write_published(database, outcome, end, delete_published);
      outcome = std::find_if(end, outcomes.end(), is_published);
      std::for_each(end, outcome, [&](const Outcome& other) { write_other(database, other); });
    }
    return published;
  });
}

std::vector<Outcome> take_locked(Transaction& transaction, std::vector<Outcome>& outcomes, std::string& why) {
  if (transaction.database().kind() == Database::Kind::sqlite || outcomes.empty()) return {};
  return attempt("write back what became of events",
                 [&] { return postgres_outcomes::take_locked(transaction.database(), outcomes, why); });
}

bool write_at_once(Database& database, Lease& lease, const std::vector<Outcome>& outcomes,
                   const ProcessorStatus& status, bool delete_published) {
  const bool fits = database.kind() == Database::Kind::postgresql && !database.pooled() &&
                    !outcomes.empty() && std::all_of(outcomes.begin(), outcomes.end(), is_published);
  if (!fits || !lease.held()) return false;
  return attempt("write back what became of events", [&] {
    try {
      const auto changed =
          postgres_outcomes::write_at_once(database, lease, outcomes, status, delete_published);
      return !changed || *changed == static_cast<std::int64_t>(outcomes.size());
    } catch (const SqlError& error) {
      if (error.retryable()) throw;
      return false;  // a rule on the table allows no such statement, say: that of a transaction tells
    }
  });
}

void write_processor_record(Transaction& transaction, const ProcessorStatus& status, std::int64_t published) {
  attempt("write the state of the outbox processor", [&] {
    auto& database = transaction.database();
    const auto* phase = to_string(status.phase);
    const auto since = status.since.time_since_epoch().count();
    const auto time = database.time().time_since_epoch().count();
    const auto updated =
        database.exec(R"sql(
        UPDATE outbox_state
        SET phase = $1, since = $2, trouble = $3, "inFlight" = $4, "writtenAt" = $5,
            published = CASE WHEN published + $6 < 0 THEN 0 ELSE published + $6 END
        WHERE name = 'outbox')sql",
                      phase, since, status.waiting_because, status.in_flight, time, published);
    if (updated.affected > 0) return;
    database.exec(R"sql(
        INSERT INTO outbox_state (name, phase, since, trouble, "inFlight", "writtenAt", published)
        VALUES ('outbox', $1, $2, $3, $4, $5, (SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'))
        )sql",
                  phase, since, status.waiting_because, status.in_flight, time);
  });
}

}  // namespace tidings
