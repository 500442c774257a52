#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"

#include <tidings/outbox_insert.hpp>
#include <tidings/outbox_repository.hpp>

#include <algorithm>
#include <tuple>

namespace tidings {
namespace {

using namespace outbox_columns;

constexpr auto kind = Database::Kind::sqlite;

/// Positions grow in commit order, as SQLite gives out max(rowid)+1. Neither outcomes nor cleanup delete the
/// newest row, whose position would otherwise be given out a second time.
class SqliteOutboxRepository final : public OutboxRepository {
 public:
  explicit SqliteOutboxRepository(SqliteDatabase& database) : OutboxRepository(database), sqlite_(database) {}

  void add(Transaction& transaction, const DomainEvent& added) override;
  bool rewind() override;
  void read_pending(int limit, std::vector<OutboxEvent>& out) override;
  [[nodiscard]] std::vector<OutboxEvent> read_aggregate(const AggregateRows& rows, int limit) override;
  [[nodiscard]] std::vector<OutboxEvent> read_retries(const OutboxPosition& after, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list(std::optional<RowStatus> status, int limit) override;

 private:
  CleanupPage delete_published(const OutboxPosition& after, Timestamp before, int limit) override;
  SqlRows read_blocked(int limit) override;

  SqliteDatabase& sqlite_;
  std::int64_t cursor_ = 0;  // position of the row that read_pending() gave last
};

void SqliteOutboxRepository::add(Transaction& transaction, const DomainEvent& added) {
  database_.require_own(transaction);
  attempt("write an event to the outbox", [&] {
    std::apply([&](const auto&... texts) { database_.exec(outbox_insert::sqlite, texts...); },
               outbox_insert::parameters(added));
  });
}

bool SqliteOutboxRepository::rewind() {
  return attempt("find the oldest pending event", [&] {
    const auto first = database_.exec("SELECT min(rowid) FROM outbox_event WHERE status = 'PENDING'");
    if (!first.cells.at(0)) return false;
    cursor_ = first.integer(0, 0) - 1;
    return true;
  });
}

/// Its cost grows with the rows in between, whatever their status. By rowid: the index on status would have
/// to sort all that is pending.
void SqliteOutboxRepository::read_pending(int limit, std::vector<OutboxEvent>& out) {
  attempt("read pending events", [&] {
    out.clear();
    sqlite_.each_row(select(kind, event) + R"sql(
        NOT INDEXED WHERE rowid > $1 AND status = 'PENDING' ORDER BY rowid LIMIT $2)sql",
                     {cursor_, std::int64_t{limit}},
                     [&out](SqlRows& row) { out.push_back(take_event(row, 0, kind)); });
    if (!out.empty()) cursor_ = out.back().position.row;
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
      statement += select(kind, event) +
                   " INDEXED BY outbox_event_aggregateId_aggregateType_idx WHERE aggregateId = " + id +
                   " AND aggregateType = " + type + R"sql( AND rowid > $3 AND rowid <= $4
                     AND status IN ('PENDING', 'PROCESSING', 'FAILED'))sql";
    }
  return statement + " ORDER BY 1 LIMIT $5";
}

std::vector<OutboxEvent> SqliteOutboxRepository::read_aggregate(const AggregateRows& rows, int limit) {
  static const auto statement = aggregate_statement();
  return attempt("read the events of an aggregate", [&] {
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
  return attempt("read failed events", [&] {
    return take_events(database_.exec(select(kind, header) + R"sql(
        WHERE rowid IN (SELECT rowid FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx
                        WHERE status IN ('FAILED', 'PROCESSING') AND rowid > $1 ORDER BY rowid LIMIT $2)
        ORDER BY rowid)sql",
                                      after.row, limit),
                       kind);
  });
}

std::vector<OutboxRow> SqliteOutboxRepository::list(std::optional<RowStatus> status, int limit) {
  return attempt("list events", [&] {
    const auto rows = select(kind, row);
    if (!status)
      return take_rows(database_.exec(rows + " NOT INDEXED ORDER BY rowid DESC LIMIT $1", limit), kind);
    return take_rows(database_.exec(rows + " WHERE status = $1 ORDER BY createdAt DESC, rowid DESC LIMIT $2",
                                    to_string(*status), limit),
                     kind);
  });
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
    if (published_at == Timestamp{}) published_at = read_time(rows.text(number, 3));
    if (published_at >= before) continue;
    const auto deleted = database_.exec(
        "DELETE FROM outbox_event WHERE rowid = $1 AND rowid < (SELECT max(rowid) FROM outbox_event)",
        page.last.row);
    page.deleted += static_cast<int>(deleted.affected);
  }
  return page;
}

SqlRows SqliteOutboxRepository::read_blocked(int limit) {
  // The bare columns are those of the row with min() in SQLite.
  return database_.exec(R"sql(
      SELECT aggregateType, aggregateId, id, retryCount, lastError, count(*) OVER ()
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
