#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/postgres/text_array.hpp"

#include <tidings/dead_letter_rows.hpp>
#ifdef TIDINGS_POSTGRES
#include "infrastructure/postgres/postgres_database.hpp"
#endif

#include <tuple>

namespace tidings {
namespace {

bool is_sqlite(const Database& database) { return database.kind() == Database::Kind::sqlite; }

std::string array_of_ids(const std::vector<DeadLetterRow>& rows) {
  TextArray array;
  for (const auto& row : rows) array.add(row.position.id);
  return array.text();
}

/// SQLite, row by row: their places are numbers, which VACUUM may have given to other rows meanwhile. An id
/// may be of any type there, and a UUID's 16 bytes may have been read as its text.
template <class... Values>
int write_each(Database& database, const std::string& statement, const std::vector<DeadLetterRow>& rows,
               const Values&... values) {
  const std::string these =
      " WHERE rowid = $1 AND status = 'DEAD_LETTER'"
      " AND (CAST(id AS TEXT) = $2 OR lower(hex(id)) = replace(lower($2), '-', ''))";
  std::int64_t changed = 0;
  for (const auto& row : rows)
    changed += database.exec(statement + these, row.position.row, row.id, values...).affected;
  return static_cast<int>(changed);
}

/// The status is compared as an expression, for which there is no index: whatever the statistics say, the
/// rows are found by their ids.
const std::string with_these_ids = " WHERE id = ANY($1::text[]) AND status::text = 'DEAD_LETTER'";

/// In the rows' transaction: a relay that sees the rows, or any that was committed later, then sees that it
/// has to look for old ones. PostgreSQL tells that by the row's xmin, SQLite by its number.
void note_retry(Database& database, Timestamp time) {
  database.exec(R"sql(
      INSERT INTO outbox_state (name, phase, since, trouble, "inFlight", "writtenAt", published)
      VALUES ('retried', '', 0, '', 0, $1, 1)
      ON CONFLICT (name) DO UPDATE SET "writtenAt" = $1, published = outbox_state.published + 1)sql",
                time.time_since_epoch().count());
}

/// Others' commits need not wake the relay: its trigger is for what is inserted.
void wake_relay([[maybe_unused]] Database& database) {
#ifdef TIDINGS_POSTGRES
  if (!is_sqlite(database)) database.exec(wake_lock::notify_if_held);
#endif
}

}  // namespace

std::int64_t DeadLetterRows::count() {
  return attempt("count dead letters", [&] {
    return database_.exec("SELECT count(*) FROM outbox_event WHERE status = 'DEAD_LETTER'").integer(0, 0);
  });
}

/// SQLite: by rowid, as the index on status would have to sort all of them for each page.
std::vector<DeadLetterRow> DeadLetterRows::read(const OutboxPosition& after, int limit) {
  return attempt("read dead letters", [&] {
    const bool sqlite = is_sqlite(database_);
    const auto rows =
        sqlite ? database_.exec("SELECT rowid, " + outbox_columns::id_as_text("id") + R"sql(, lastError
            FROM outbox_event NOT INDEXED
            WHERE rowid > $1 AND status = 'DEAD_LETTER' ORDER BY rowid LIMIT $2)sql",
                                after.row, limit)
               : database_.exec(R"sql(
            SELECT "createdAt", id, "lastError" FROM outbox_event
            WHERE status = 'DEAD_LETTER' AND "createdAt" >= $1::timestamp
              AND ("createdAt", id COLLATE "C") > ($1::timestamp, $2::text)
            ORDER BY "createdAt", id COLLATE "C" LIMIT $3)sql",
                                after.created_at.empty() ? "-infinity" : after.created_at, after.id, limit);
    std::vector<DeadLetterRow> read;
    for (std::size_t row = 0; row < rows.size(); ++row)
      read.push_back({.position = sqlite ? OutboxPosition{rows.integer(row, 0)}
                                         : OutboxPosition{rows.text(row, 0), rows.text(row, 1)},
                      .id = rows.text(row, 1),
                      .last_error = rows.text(row, 2)});
    return read;
  });
}

int DeadLetterRows::retry(Transaction& transaction, const std::vector<DeadLetterRow>& rows) {
  database_.require_own(transaction);
  if (rows.empty()) return 0;
  return attempt("give dead letters back to the relay", [&] {
    const auto now = database_.time();
    const auto time = to_iso8601(now);
    const std::string set = R"sql(
        UPDATE outbox_event SET status = 'PENDING', "retryCount" = 0, "lastError" = NULL, "processedAt" = NULL,
                                "updatedAt" = )sql";
    const auto changed =
        is_sqlite(database_)
            ? write_each(database_, set + "$3", rows, time)
            : database_.exec(set + "$2::timestamp" + with_these_ids, array_of_ids(rows), time).affected;
    note_retry(database_, now);
    wake_relay(database_);
    return static_cast<int>(changed);
  });
}

int DeadLetterRows::purge(Transaction& transaction, const std::vector<DeadLetterRow>& rows) {
  database_.require_own(transaction);
  if (rows.empty()) return 0;
  return attempt("delete dead letters", [&] {
    const std::string remove = "DELETE FROM outbox_event";
    if (!is_sqlite(database_))
      return static_cast<int>(database_.exec(remove + with_these_ids, array_of_ids(rows)).affected);
    const auto newest = database_.exec("SELECT max(rowid) FROM outbox_event").integer(0, 0);
    std::vector<DeadLetterRow> older;
    for (const auto& row : rows)
      if (row.position.row < newest) older.push_back(row);
    return write_each(database_, remove, older);
  });
}

bool is_before(const DeadLetterRow& left, const DeadLetterRow& right) {
  const auto key = [](const DeadLetterRow& row) {
    return std::tie(row.position.row, row.position.created_at, row.position.id);
  };
  return key(left) < key(right);
}

}  // namespace tidings
