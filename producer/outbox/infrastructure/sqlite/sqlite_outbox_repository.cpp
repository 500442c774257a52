#include "infrastructure/sqlite/sqlite_outbox_repository.hpp"

#include "database/statement_run.hpp"
#include "infrastructure/sqlite/outbox_columns.hpp"
#include "infrastructure/sqlite/published_rows.hpp"

#include <algorithm>

namespace tidings {

struct SqliteOutboxRepository::Statements {
  explicit Statements(SQLite::Database& database)
      : add(database, R"sql(
            INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, eventVersion,
                                      occurredAt, retryCount, status, createdAt, updatedAt)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 'PENDING', ?8, ?8))sql"),
        // By rowid: the index on status would have to sort all that is pending.
        read_pending(database, "SELECT " + event_columns + R"sql(
            FROM outbox_event NOT INDEXED WHERE rowid > ? AND status = 'PENDING' ORDER BY rowid LIMIT ?)sql"),
        // The index is named, since statistics from ANALYZE can make SQLite prefer to walk the table. In it
        // the rows of one aggregate stand by rowid.
        read_aggregate(database, "SELECT " + event_columns + R"sql(
            FROM outbox_event INDEXED BY outbox_event_aggregateId_aggregateType_idx
            WHERE aggregateId = ? AND aggregateType = ? AND rowid > ? AND rowid <= ?
              AND status IN ('PENDING', 'PROCESSING', 'FAILED')
            ORDER BY rowid LIMIT ?)sql"),
        // Positions first, from the index alone: only the rows of the page are read.
        read_retries(database, "SELECT " + header_columns + R"sql(
            FROM outbox_event
            WHERE rowid IN (SELECT rowid FROM outbox_event INDEXED BY outbox_event_status_createdAt_idx
                            WHERE status IN ('FAILED', 'PROCESSING') AND rowid > ? ORDER BY rowid LIMIT ?)
            ORDER BY rowid)sql"),
        count_pending(database, "SELECT count(*) FROM outbox_event WHERE status = 'PENDING'"),
        first_pending(database, "SELECT min(rowid) FROM outbox_event WHERE status = 'PENDING'"),
        oldest_pending(database, R"sql(
            SELECT createdAt FROM outbox_event WHERE status = 'PENDING' ORDER BY createdAt LIMIT 1)sql"),
        published(database),
        remove(database, "DELETE FROM outbox_event WHERE rowid = ?"),
        list(database,
             "SELECT " + row_columns + " FROM outbox_event NOT INDEXED ORDER BY rowid DESC LIMIT ?"),
        list_status(database, "SELECT " + row_columns + R"sql(
            FROM outbox_event WHERE status = ? ORDER BY createdAt DESC, rowid DESC LIMIT ?)sql"),
        find(database, "SELECT " + row_columns + " FROM outbox_event WHERE id = ?") {}

  SQLite::Statement add;
  SQLite::Statement read_pending, read_aggregate, read_retries, count_pending, first_pending, oldest_pending;
  PublishedRows published;
  SQLite::Statement remove;
  SQLite::Statement list, list_status, find;
};

SqliteOutboxRepository::SqliteOutboxRepository(SqliteDatabase& database) : database_(database) {
  statements_ = attempt("use the outbox in " + database.name(),
                        [&] { return std::make_unique<Statements>(database.handle()); });
}

SqliteOutboxRepository::~SqliteOutboxRepository() = default;

void SqliteOutboxRepository::add(Transaction& transaction, const DomainEvent& event) {
  database_.require_own(transaction);
  attempt("write an event to the outbox", [&] {
    const auto data = event.event_data();
    const auto occurred_at = to_iso8601(event.occurred_at);
    const auto created_at = to_iso8601(now());
    StatementRun{statements_->add}
        .bind(event.id, event.aggregate_id, event.aggregate_type, event.event_type, data, event.event_version,
              occurred_at, created_at)
        .exec();
  });
}

bool SqliteOutboxRepository::rewind() {
  return attempt("find the oldest pending event", [&] {
    StatementRun run{statements_->first_pending};
    run.next();
    if (run.column(0).isNull()) return false;
    cursor_ = run.column(0).getInt64() - 1;
    return true;
  });
}

void SqliteOutboxRepository::read_pending(int limit, std::vector<OutboxEvent>& out) {
  attempt("read pending events", [&] {
    out.clear();
    StatementRun run{statements_->read_pending};
    run.bind(cursor_, limit);
    while (run.next()) out.push_back(read_event(run));
    if (!out.empty()) cursor_ = out.back().position.row;
  });
}

std::vector<OutboxEvent> SqliteOutboxRepository::read_aggregate(const AggregateRows& rows, int limit) {
  return attempt("read the events of an aggregate", [&] {
    std::vector<OutboxEvent> events;
    StatementRun run{statements_->read_aggregate};
    const auto after = rows.with_first ? rows.after.row - 1 : rows.after.row;
    // A row to be tried again is read wherever it stands.
    const auto last = rows.with_first ? std::max(cursor_, rows.after.row) : cursor_;
    run.bind(rows.aggregate_id, rows.aggregate_type, after, last, limit);
    while (run.next()) events.push_back(read_event(run));
    return events;
  });
}

std::optional<Timestamp> SqliteOutboxRepository::oldest_pending() {
  return attempt("read the oldest pending event", [&]() -> std::optional<Timestamp> {
    StatementRun run{statements_->oldest_pending};
    if (!run.next()) return std::nullopt;
    return read_time(run.column(0));
  });
}

std::vector<OutboxEvent> SqliteOutboxRepository::read_retries(const OutboxPosition& after, int limit) {
  return attempt("read failed events", [&] {
    std::vector<OutboxEvent> events;
    StatementRun run{statements_->read_retries};
    run.bind(after.row, limit);
    while (run.next()) events.push_back(read_header(run));
    return events;
  });
}

std::int64_t SqliteOutboxRepository::count_pending() {
  return attempt("count pending events", [&] {
    StatementRun run{statements_->count_pending};
    run.next();
    return run.column(0).getInt64();
  });
}

SqliteOutboxRepository::Cleanup SqliteOutboxRepository::cleanup(Transaction& transaction, Timestamp before,
                                                                int limit) {
  database_.require_own(transaction);
  return attempt("delete published events", [&] {
    const auto positions = statements_->published.next_before(before, limit);
    for (const auto position : positions) StatementRun{statements_->remove}.bind(position).exec();
    return Cleanup{.deleted = static_cast<int>(positions.size()), .more = !statements_->published.at_end()};
  });
}

std::vector<OutboxRow> SqliteOutboxRepository::list(std::optional<RowStatus> status, int limit) {
  return attempt("list events", [&] {
    std::vector<OutboxRow> rows;
    StatementRun run{status ? statements_->list_status : statements_->list};
    if (status)
      run.bind(to_string(*status), limit);
    else
      run.bind(limit);
    while (run.next()) rows.push_back(read_row(run));
    return rows;
  });
}

std::optional<OutboxRow> SqliteOutboxRepository::find(const std::string& id) {
  return attempt("find an event", [&]() -> std::optional<OutboxRow> {
    StatementRun run{statements_->find};
    if (!run.bind(id).next()) return std::nullopt;
    return read_row(run);
  });
}

}  // namespace tidings
