#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"

#include <tidings/outbox_insert.hpp>
#include <tidings/outbox_repository.hpp>

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>

namespace tidings {
namespace {

using namespace outbox_columns;

constexpr auto kind = Database::Kind::sqlite;

/// Positions grow in commit order, as SQLite gives out max(rowid)+1. Neither outcomes nor cleanup delete the
/// newest row, whose position would otherwise be given out a second time. VACUUM, and a migration that copies
/// the table (as Prisma's do), give out all of them anew, and change the schema's version. Dead letters that
/// are given back stand before the cursor. In both cases reading throws, and the caller makes a new
/// repository.
class SqliteOutboxRepository final : public OutboxRepository {
 public:
  explicit SqliteOutboxRepository(SqliteDatabase& database)
      : OutboxRepository(database), sqlite_(database), schema_version_(read_schema_version()) {}

  void add(Transaction& transaction, const DomainEvent& added) override;
  bool rewind() override;
  void read_pending(int limit, std::vector<OutboxEvent>& out) override;
  [[nodiscard]] std::vector<OutboxEvent> read_aggregate(const AggregateRows& rows, int limit) override;
  [[nodiscard]] std::vector<OutboxEvent> read_retries(const OutboxPosition& after, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list(std::optional<RowStatus> status, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list_unknown_status(int limit) override;

 private:
  CleanupPage delete_published(const OutboxPosition& after, Timestamp before, int limit) override;
  SqlRows read_blocked(int limit) override;
  std::int64_t count_unknown_status() override;

  [[nodiscard]] std::int64_t read_schema_version();
  [[nodiscard]] std::int64_t count_retries();
  void require_same_rows();
  template <class Read>
  decltype(auto) read_positions(std::string_view action, Read&& read);
  void read_window(std::int64_t end, int limit, std::vector<OutboxEvent>& out);

  SqliteDatabase& sqlite_;
  const std::int64_t schema_version_;
  std::optional<std::int64_t> retries_;  // how often dead letters had been given back at the last rewind()
  std::int64_t cursor_ = 0;              // position of the row that read_pending() gave last
};

std::int64_t SqliteOutboxRepository::read_schema_version() {
  return database_.exec("PRAGMA schema_version").integer(0, 0);
}

/// See DeadLetterRows::retry().
std::int64_t SqliteOutboxRepository::count_retries() {
  const auto noted = database_.exec("SELECT published FROM outbox_state WHERE name = 'retried'");
  return noted.empty() ? 0 : noted.integer(0, 0);
}

/// Asked afterwards: then what was read stands where it was said to, and nothing that was given back before
/// it is left out.
void SqliteOutboxRepository::require_same_rows() {
  if (read_schema_version() != schema_version_)
    throw SqlError("the schema has changed: reading starts over", Error::Retry::yes);
  if (retries_ && count_retries() != *retries_)
    throw SqlError("dead letters were given back: reading starts over", Error::Retry::yes);
}

template <class Read>
decltype(auto) SqliteOutboxRepository::read_positions(std::string_view action, Read&& read) {
  return attempt(action, [&] {
    try {
      auto result = read();
      require_same_rows();
      return result;
    } catch (const SqlError&) {  // no such table: it is being made anew
      require_same_rows();
      throw;
    }
  });
}

void SqliteOutboxRepository::add(Transaction& transaction, const DomainEvent& added) {
  database_.require_own(transaction);
  attempt("write an event to the outbox", [&] {
    std::apply([&](const auto&... texts) { database_.exec(outbox_insert::sqlite, texts...); },
               outbox_insert::parameters(added));
  });
}

bool SqliteOutboxRepository::rewind() {
  return read_positions("find the oldest pending event", [&] {
    retries_ = count_retries();
    const auto first = database_.exec("SELECT min(rowid) FROM outbox_event WHERE status = 'PENDING'");
    if (!first.cells.at(0)) return false;
    cursor_ = first.integer(0, 0) - 1;
    return true;
  });
}

/// In windows of rows, whatever their status: the index on status would have to sort all that is pending.
/// What was published between an old row and the next is passed by that index: it may be millions of rows.
void SqliteOutboxRepository::read_pending(int limit, std::vector<OutboxEvent>& out) {
  constexpr std::int64_t window = 10'000;
  const auto wanted = static_cast<std::size_t>(limit);
  read_positions("read pending events", [&] {
    out.clear();
    // Asked first: what is appended later stands behind it.
    const auto newest = database_.exec("SELECT max(rowid) FROM outbox_event").integer(0, 0);
    for (;;) {
      const auto end = cursor_ + window;
      read_window(end < newest ? end : std::numeric_limits<std::int64_t>::max(),
                  limit - static_cast<int>(out.size()), out);
      if (out.size() == wanted || end >= newest) return true;
      const auto next = database_.exec(R"sql(
          SELECT min(rowid) FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx
          WHERE status = 'PENDING' AND rowid > $1)sql",
                                       std::max(end, cursor_));
      if (!next.cells.at(0)) return true;
      cursor_ = next.integer(0, 0) - 1;
    }
  });
}

/// The PENDING rows behind the cursor, up to position `end`.
void SqliteOutboxRepository::read_window(std::int64_t end, int limit, std::vector<OutboxEvent>& out) {
  sqlite_.each_row(select(kind, Columns::event) + R"sql(
      NOT INDEXED WHERE rowid > $1 AND rowid <= $2 AND status = 'PENDING' ORDER BY rowid LIMIT $3)sql",
                   {cursor_, end, std::int64_t{limit}}, [&](SqlRows& row) {
                     out.push_back(take_event(row, 0, kind));
                     cursor_ = out.back().position.row;
                   });
}

/// The rows of an aggregate whatever type a driver has bound: its id is a text, the same bytes as a BLOB, or
/// the 16 bytes of a UUID. Each is looked up by itself, and SQLite merges what it finds: it does not sort.
/// The index is named, since statistics from ANALYZE can make SQLite prefer to walk the table. In it the rows
/// of one aggregate stand by rowid.
std::string aggregate_statement() {
  std::string statement;
  for (const auto* const id : {"$1", "CAST($1 AS BLOB)", "CAST(nullif($6, '') AS BLOB)"})
    for (const auto* const type : {"$2", "CAST($2 AS BLOB)"}) {
      if (!statement.empty()) statement += " UNION ALL ";
      statement += select(kind, Columns::event) +
                   " INDEXED BY outbox_event_aggregateId_aggregateType_idx WHERE aggregateId = " + id +
                   " AND aggregateType = " + type + R"sql( AND rowid > $3 AND rowid <= $4
                     AND status IN ('PENDING', 'PROCESSING', 'FAILED'))sql";
    }
  return statement + " ORDER BY 1 LIMIT $5";
}

std::vector<OutboxEvent> SqliteOutboxRepository::read_aggregate(const AggregateRows& rows, int limit) {
  static const auto statement = aggregate_statement();
  return read_positions("read the events of an aggregate", [&] {
    const auto after = rows.with_first ? rows.after.row - 1 : rows.after.row;
    // A row to be tried again is read wherever it stands.
    const auto last = rows.with_first ? std::max(cursor_, rows.after.row) : cursor_;
    return take_events(database_.exec(statement, rows.aggregate_id, rows.aggregate_type, after, last, limit,
                                      bytes_of_uuid(rows.aggregate_id)),
                       kind);
  });
}

/// Positions first, from the index alone: only the rows of the page are read.
std::vector<OutboxEvent> SqliteOutboxRepository::read_retries(const OutboxPosition& after, int limit) {
  return read_positions("read failed events", [&] {
    return take_events(database_.exec(select(kind, Columns::header) + R"sql(
        WHERE rowid IN (SELECT rowid FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx
                        WHERE status IN ('FAILED', 'PROCESSING') AND rowid > $1 ORDER BY rowid LIMIT $2)
        ORDER BY rowid)sql",
                                      after.row, limit),
                       kind);
  });
}

std::vector<OutboxRow> SqliteOutboxRepository::list(std::optional<RowStatus> status, int limit) {
  return attempt("list events", [&] {
    const auto rows = select(kind, Columns::listed);
    if (!status)
      return take_rows(database_.exec(rows + " NOT INDEXED ORDER BY rowid DESC LIMIT $1", limit), kind);
    return take_rows(database_.exec(rows + " WHERE status = $1 ORDER BY createdAt DESC, rowid DESC LIMIT $2",
                                    to_string(*status), limit),
                     kind);
  });
}

/// From the index alone: what lies between the statuses that there are, in its order.
std::string of_unknown_status() {
  auto names = row_status_names;
  std::ranges::sort(names, std::less<std::string_view>{});
  const std::string rows =
      "SELECT rowid FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx WHERE status ";
  std::string statement = rows + "< '" + names.front() + "'";
  for (std::size_t at = 1; at < names.size(); ++at)
    statement += " UNION ALL " + rows + "> '" + names.at(at - 1) + "' AND status < '" + names.at(at) + "'";
  return statement + " UNION ALL " + rows + "> '" + names.back() + "'";
}

std::int64_t SqliteOutboxRepository::count_unknown_status() {
  static const auto statement = "SELECT count(*) FROM (" + of_unknown_status() + ")";
  return database_.exec(statement).integer(0, 0);
}

std::vector<OutboxRow> SqliteOutboxRepository::list_unknown_status(int limit) {
  static const auto statement = select(kind, Columns::listed) + " WHERE rowid IN (" + of_unknown_status() +
                                ") ORDER BY rowid DESC LIMIT $1";
  return attempt("list events", [&] { return take_rows(database_.exec(statement, limit), kind); });
}

OutboxRepository::CleanupPage SqliteOutboxRepository::delete_published(const OutboxPosition& after,
                                                                       Timestamp before, int limit) {
  // Older Prisma clients put numbers, which sort before all texts; the column's affinity makes numbers of
  // these.
  const std::string beginning = "-9223372036854775808";
  const auto rows = database_.exec(R"sql(
      SELECT rowid, createdAt, publishedAt, updatedAt FROM outbox_event
      WHERE status = 'PUBLISHED' AND (createdAt, rowid) > ($1, $2) AND createdAt < $3
      ORDER BY createdAt, rowid LIMIT $4)sql",
                                   after.created_at.empty() ? beginning : after.created_at, after.row,
                                   to_iso8601(before), limit);
  CleanupPage page{.examined = static_cast<int>(rows.size())};
  for (std::size_t number = 0; number < rows.size(); ++number) {
    page.last.row = rows.integer(number, 0);
    page.last.created_at = rows.text(number, 1);
    auto published_at = read_time(rows.text(number, 2));
    if (!published_at) published_at = read_time(rows.text(number, 3));
    if (published_at >= before) continue;  // what cannot be read counts as long ago
    const auto deleted = database_.exec(
        "DELETE FROM outbox_event WHERE rowid = $1 AND rowid < (SELECT max(rowid) FROM outbox_event)",
        page.last.row);
    page.deleted += static_cast<int>(deleted.affected);
  }
  return page;
}

SqlRows SqliteOutboxRepository::read_blocked(int limit) {
  // The bare columns are those of the row with min() in SQLite.
  return database_.exec("SELECT aggregateType, " + id_as_text("aggregateId") + ", " + id_as_text("id") +
                            R"sql(, retryCount, lastError, count(*) OVER ()
      FROM (SELECT aggregateType, aggregateId, id, retryCount, lastError, min(rowid) AS first
            FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx
            WHERE status IN ('FAILED', 'PROCESSING') GROUP BY aggregateId, aggregateType)
      ORDER BY first LIMIT $1)sql",
                        limit);
}

}  // namespace

std::unique_ptr<OutboxRepository> SqliteDatabase::outbox() {
  return std::make_unique<SqliteOutboxRepository>(*this);
}

}  // namespace tidings
