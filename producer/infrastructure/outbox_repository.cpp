#include "infrastructure/outbox_repository.hpp"

#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/published_rows.hpp"
#include "infrastructure/statement_run.hpp"

#include <algorithm>

namespace tidings {
namespace {

constexpr std::size_t longest_error = 1000;

/// What a mark may still change.
const std::string if_not_settled =
    " WHERE rowid = ?1 AND id = ?2 AND status IN ('PENDING', 'PROCESSING', 'FAILED')";

/// At most `longest_error` bytes, not ending in the middle of a character.
std::string shorten(const std::string& error) {
  if (error.size() <= longest_error) return error;
  std::size_t end = longest_error;
  while (end > longest_error - 3 && (static_cast<unsigned char>(error[end]) & 0xc0U) == 0x80U) --end;
  return error.substr(0, end);
}

constexpr std::ptrdiff_t shortest_run = 8;

using Marks = std::vector<OutboxMark>::const_iterator;

/// The end of the published events from `mark` on whose positions follow each other without a gap.
Marks end_of_run(Marks mark, Marks end) {
  auto next = mark + 1;
  while (next != end && mark->status == OutboxStatus::published && next->status == OutboxStatus::published &&
         next->position == (next - 1)->position + 1)
    ++next;
  return next;
}

}  // namespace

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
        mark_published(database,
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
        position(database, "SELECT rowid FROM outbox_event WHERE id = ?"),
        published(database),
        remove(database, "DELETE FROM outbox_event WHERE rowid = ?"),
        count(database, "SELECT status, count(*) FROM outbox_event GROUP BY status"),
        oldest_pending(
            database,
            "SELECT createdAt FROM outbox_event WHERE status = 'PENDING' ORDER BY createdAt LIMIT 1"),
        list(database,
             "SELECT " + row_columns + " FROM outbox_event NOT INDEXED ORDER BY rowid DESC LIMIT ?"),
        list_status(database,
                    "SELECT " + row_columns +
                        " FROM outbox_event WHERE status = ? ORDER BY createdAt DESC, rowid DESC LIMIT ?"),
        find(database, "SELECT " + row_columns + " FROM outbox_event WHERE id = ?") {}

  SQLite::Statement add;
  SQLite::Statement read_pending, read_aggregate, read_retries, pending_range;
  SQLite::Statement mark_published, mark_run, delete_run, is_at, newest, delete_published, mark_failed,
      mark_dead_letter, mark_pending, mark_processing;
  SQLite::Statement position;
  PublishedRows published;
  SQLite::Statement remove;
  SQLite::Statement count, oldest_pending, list, list_status, find;
};

OutboxRepository::OutboxRepository(Database& database) : database_(database) {
  statements_ = attempt("use the outbox in " + database.path(),
                        [&] { return std::make_unique<Statements>(database.handle()); });
}

OutboxRepository::~OutboxRepository() = default;

void OutboxRepository::check_connection(Transaction& transaction) const {
  if (&transaction.database() != &database_.handle())
    throw DatabaseError(
        "cannot write to the outbox: the transaction is on another connection than its repository");
}

void OutboxRepository::add(Transaction& transaction, const DomainEvent& event) {
  check_connection(transaction);
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

void OutboxRepository::write_marks(Transaction& transaction, const std::vector<OutboxMark>& marks,
                                   bool delete_published) {
  check_connection(transaction);
  attempt("write back what became of events", [&] {
    for (auto mark = marks.begin(); mark != marks.end();) {
      const auto end = end_of_run(mark, marks.end());
      if (end - mark < shortest_run || !write_run(*mark, *(end - 1), delete_published))
        std::for_each(mark, end, [&](const auto& single) { write(single, delete_published); });
      mark = end;
    }
  });
}

/// Marks as published all rows from one to another whose positions follow each other without a gap: one
/// statement instead of thousands. Where VACUUM has renumbered rows it does nothing and says so: the
/// order of rows outlives it, so if both ends are where they were, all between them are.
bool OutboxRepository::write_run(const OutboxMark& first, const OutboxMark& last, bool delete_published) {
  const auto is_at = [this](const OutboxMark& mark) {
    StatementRun run{statements_->is_at};
    return run.bind(mark.position, mark.id).next();
  };
  if (!is_at(first) || !is_at(last)) return false;
  std::int64_t changed = 0;
  if (delete_published) {
    const bool ends_the_table = last.position == newest();
    changed = StatementRun{statements_->delete_run}
                  .bind(first.position, ends_the_table ? last.position - 1 : last.position)
                  .exec();
    if (ends_the_table) changed += write_at(last.position, last, delete_published);
  } else {
    const auto at = to_iso8601(last.at);
    changed = StatementRun{statements_->mark_run}.bind(first.position, last.position, at).exec();
  }
  // Fewer when some were retries, which are not PENDING: then each by itself, by its own rule.
  return changed == last.position - first.position + 1;
}

std::int64_t OutboxRepository::newest() {
  StatementRun run{statements_->newest};
  run.next();
  return run.column(0).getInt64();
}

void OutboxRepository::write(const OutboxMark& mark, bool delete_published) {
  if (write_at(mark.position, mark, delete_published) > 0) return;
  // The row is settled or gone, or VACUUM has given it another rowid.
  std::int64_t position = 0;
  {
    StatementRun run{statements_->position};
    if (run.bind(mark.id).next()) position = run.column(0).getInt64();
  }
  if (position != 0) write_at(position, mark, delete_published);
}

int OutboxRepository::write_at(std::int64_t position, const OutboxMark& mark, bool delete_published) {
  const auto at = to_iso8601(mark.at);
  const auto error = shorten(mark.error);
  const auto run = [&](SQLite::Statement& statement, const auto&... values) {
    return StatementRun{statement}.bind(position, mark.id, values...).exec();
  };
  switch (mark.status) {
    case OutboxStatus::published:
      if (delete_published && run(statements_->delete_published) > 0) return 1;
      return run(statements_->mark_published, at);
    case OutboxStatus::failed:
      return run(statements_->mark_failed, at, mark.retry_count, error);
    case OutboxStatus::dead_letter:
      return run(statements_->mark_dead_letter, at, mark.retry_count, error);
    case OutboxStatus::pending:
      return run(statements_->mark_pending, at);
    case OutboxStatus::processing:
      return run(statements_->mark_processing);
  }
  return 0;
}

OutboxRepository::Cleanup OutboxRepository::cleanup(Transaction& transaction, Timestamp before, int limit) {
  check_connection(transaction);
  return attempt("delete published events", [&] {
    const auto positions = statements_->published.next_before(before, limit);
    for (const auto position : positions) StatementRun{statements_->remove}.bind(position).exec();
    return Cleanup{.deleted = static_cast<int>(positions.size()), .more = !statements_->published.at_end()};
  });
}

OutboxStats OutboxRepository::stats() {
  return attempt("count events", [&] {
    OutboxStats stats;
    StatementRun counts{statements_->count};
    while (counts.next()) {
      const auto count = counts.column(1).getInt64();
      const auto status = parse_outbox_status(counts.column(0).getText());
      if (!status) continue;
      switch (*status) {
        case OutboxStatus::pending:
          stats.pending = count;
          break;
        case OutboxStatus::processing:
          stats.processing = count;
          break;
        case OutboxStatus::published:
          stats.published = count;
          break;
        case OutboxStatus::failed:
          stats.failed = count;
          break;
        case OutboxStatus::dead_letter:
          stats.dead_letter = count;
          break;
      }
    }
    StatementRun oldest{statements_->oldest_pending};
    if (oldest.next()) stats.oldest_pending = read_time(oldest.column(0));
    return stats;
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
