#include "infrastructure/outbox_repository.hpp"

#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/published_rows.hpp"
#include "infrastructure/statement_run.hpp"

namespace tidings {

struct OutboxRepository::Statements {
  explicit Statements(SQLite::Database& database)
      : add(database,
            "INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, eventVersion, "
            "occurredAt, "
            "retryCount, status, createdAt, updatedAt) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 'PENDING', ?8, "
            "?8)"),
        // By rowid: the index on status would have to sort all that is pending.
        read_pending(database, "SELECT " + event_columns +
                                   " FROM outbox_event NOT INDEXED WHERE rowid > ? AND status = 'PENDING' "
                                   "ORDER BY rowid LIMIT ?"),
        // The index is named, since statistics from ANALYZE can make SQLite prefer to walk the table. In it
        // the rows of one aggregate stand by rowid.
        read_aggregate(database,
                       "SELECT " + event_columns +
                           " FROM outbox_event INDEXED BY outbox_event_aggregateId_aggregateType_idx "
                           "WHERE aggregateId = ? AND aggregateType = ? AND rowid > ? AND rowid <= ? "
                           "AND status IN ('PENDING', 'PROCESSING', 'FAILED') ORDER BY rowid LIMIT ?"),
        // Positions first, from the index alone: only the rows of the page are read.
        read_retries(
            database,
            "SELECT " + header_columns +
                " FROM outbox_event WHERE rowid IN (SELECT rowid FROM outbox_event "
                "INDEXED BY outbox_event_status_createdAt_idx WHERE status IN ('FAILED', 'PROCESSING') "
                "AND rowid > ? ORDER BY rowid LIMIT ?) ORDER BY rowid"),
        pending_range(database, "SELECT count(*), min(rowid) FROM outbox_event WHERE status = 'PENDING'"),
        oldest_pending(
            database,
            "SELECT createdAt FROM outbox_event WHERE status = 'PENDING' ORDER BY createdAt LIMIT 1"),
        published(database),
        remove(database, "DELETE FROM outbox_event WHERE rowid = ?"),
        list(database,
             "SELECT " + row_columns + " FROM outbox_event NOT INDEXED ORDER BY rowid DESC LIMIT ?"),
        list_status(database,
                    "SELECT " + row_columns +
                        " FROM outbox_event WHERE status = ? ORDER BY createdAt DESC, rowid DESC LIMIT ?"),
        find(database, "SELECT " + row_columns + " FROM outbox_event WHERE id = ?") {}

  SQLite::Statement add;
  SQLite::Statement read_pending, read_aggregate, read_retries, pending_range, oldest_pending;
  PublishedRows published;
  SQLite::Statement remove;
  SQLite::Statement list, list_status, find;
};

OutboxRepository::OutboxRepository(Database& database) : database_(database) {
  statements_ = attempt("use the outbox in " + database.path(),
                        [&] { return std::make_unique<Statements>(database.handle()); });
}

OutboxRepository::~OutboxRepository() = default;

void OutboxRepository::add(Transaction& transaction, const DomainEvent& event) {
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

void OutboxRepository::read_pending(std::int64_t after, int limit, std::vector<OutboxEvent>& out) {
  attempt("read pending events", [&] {
    out.clear();
    StatementRun run{statements_->read_pending};
    run.bind(after, limit);
    while (run.next()) out.push_back(read_event(run));
  });
}

std::vector<OutboxEvent> OutboxRepository::read_aggregate(const std::string& aggregate_id,
                                                          const std::string& aggregate_type,
                                                          std::int64_t after, std::int64_t last, int limit) {
  return attempt("read the events of an aggregate", [&] {
    std::vector<OutboxEvent> events;
    StatementRun run{statements_->read_aggregate};
    run.bind(aggregate_id, aggregate_type, after, last, limit);
    while (run.next()) events.push_back(read_event(run));
    return events;
  });
}

std::optional<Timestamp> OutboxRepository::oldest_pending() {
  return attempt("read the oldest pending event", [&]() -> std::optional<Timestamp> {
    StatementRun run{statements_->oldest_pending};
    if (!run.next()) return std::nullopt;
    return read_time(run.column(0));
  });
}

std::vector<OutboxEvent> OutboxRepository::read_retries(std::int64_t after, int limit) {
  return attempt("read failed events", [&] {
    std::vector<OutboxEvent> events;
    StatementRun run{statements_->read_retries};
    run.bind(after, limit);
    while (run.next()) events.push_back(read_header(run));
    return events;
  });
}

OutboxRepository::PendingRange OutboxRepository::pending_range() {
  return attempt("count pending events", [&] {
    StatementRun run{statements_->pending_range};
    run.next();
    return PendingRange{.count = run.column(0).getInt64(), .first = run.column(1).getInt64()};
  });
}

OutboxRepository::Cleanup OutboxRepository::cleanup(Transaction& transaction, Timestamp before, int limit) {
  database_.require_own(transaction);
  return attempt("delete published events", [&] {
    const auto positions = statements_->published.next_before(before, limit);
    for (const auto position : positions) StatementRun{statements_->remove}.bind(position).exec();
    return Cleanup{.deleted = static_cast<int>(positions.size()), .more = !statements_->published.at_end()};
  });
}

std::vector<OutboxRow> OutboxRepository::list(std::optional<OutboxStatus> status, int limit) {
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

std::optional<OutboxRow> OutboxRepository::find(const std::string& id) {
  return attempt("find an event", [&]() -> std::optional<OutboxRow> {
    StatementRun run{statements_->find};
    if (!run.bind(id).next()) return std::nullopt;
    return read_row(run);
  });
}

}  // namespace tidings
