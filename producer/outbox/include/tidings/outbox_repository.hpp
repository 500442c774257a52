#pragma once

// The table outbox_event: writing an event in a service's own transaction, what the processor reads and
// cleans up, and what operators read. What became of events is written by write_outcomes().

#include <tidings/database.hpp>
#include <tidings/domain_event.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/processor_status.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// A whole row for people. Times are ISO 8601, or as stored when they cannot be read. The processor leaves
/// rows alone whose status the model does not have; in `event`, that reads as dead_letter.
struct OutboxRow {
  OutboxEvent event;
  std::string status, event_version;  ///< as stored
  std::string last_error, occurred_at, created_at, updated_at, processed_at, published_at;
};

/// An aggregate whose later events wait for one that is FAILED or being tried again.
struct BlockedAggregate {
  std::string aggregate_type, aggregate_id;
  std::string event_id;  ///< the one that they wait for
  int retry_count = 0;
  std::string last_error;
};

/// How an outbox stands: cheap to ask, also while a million rows wait or are kept. Counts come from the index
/// on status and from the processor's count of published rows, never from a walk through what is published.
struct OutboxStats {
  std::int64_t pending = 0, processing = 0, failed = 0, dead_letter = 0;
  std::int64_t unknown_status = 0;  ///< rows whose status the model does not have, as `pending`: nobody's
  /// As counted by the processor's own writes and cleanups: it misses what others do to published rows.
  std::int64_t published = 0;
  std::optional<Timestamp> oldest_pending;  ///< createdAt
  std::int64_t blocked_aggregates = 0;
  std::vector<BlockedAggregate> blocked;     ///< the first of them in commit order
  std::optional<ProcessorRecord> processor;  ///< empty when none has ever run
};

/// Not thread-safe: one repository for each connection and thread. Every function throws DatabaseError.
///
/// In SQLite, rows are read in commit order. In PostgreSQL, the rows that one scan sees and the one before
/// could not see are read in the order of (createdAt, id), except that those which one transaction has
/// written for an aggregate in a millisecond are read as it wrote them: see docs/decisions/0007.
class OutboxRepository {
 public:
  virtual ~OutboxRepository() = default;
  OutboxRepository(const OutboxRepository&) = delete;
  OutboxRepository& operator=(const OutboxRepository&) = delete;

  /// Writes the event as PENDING in the caller's transaction. PostgreSQL may refuse it only at the commit.
  virtual void add(Transaction& transaction, const DomainEvent& event) = 0;

  // What the processor reads, in order.

  /// Lets read_pending() start over at the oldest PENDING row. True when there is one.
  virtual bool rewind() = 0;
  /// Replaces `out` by the PENDING rows after those that were read before, at most `limit`; fewer when
  /// there are no more at the moment. In PostgreSQL up to 1,000 more, where one transaction has written
  /// several for an aggregate in one millisecond: these are not cut in two.
  virtual void read_pending(int limit, std::vector<OutboxEvent>& out) = 0;

  /// Rows of one aggregate.
  struct AggregateRows {
    const std::string& aggregate_id;
    const std::string& aggregate_type;
    OutboxPosition after;
    bool with_first = false;  ///< the row at `after` as well
    /// PostgreSQL: ids of others with the createdAt of `after` that are settled, which the table may not show
    /// yet.
    std::vector<std::string> settled_beside{};
  };
  /// Those that are not settled (PENDING, FAILED, PROCESSING) and that read_pending() has passed; more than
  /// `limit` as there.
  [[nodiscard]] virtual std::vector<OutboxEvent> read_aggregate(const AggregateRows& rows, int limit) = 0;
  /// How many of them a call should ask for: without an index on their order, the cost of a call grows with
  /// all rows of the aggregate.
  [[nodiscard]] virtual int rows_of_aggregate_at_once() const noexcept { return 64; }
  /// FAILED and PROCESSING rows without their eventData, past `after`, at most `limit`.
  [[nodiscard]] virtual std::vector<OutboxEvent> read_retries(const OutboxPosition& after, int limit) = 0;
  /// For an event whose eventData was left out, as it is large: reads it, unless it has more than `limit`
  /// bytes. Returns how many it has; empty when the row is gone.
  [[nodiscard]] std::optional<std::int64_t> read_data(OutboxEvent& event, std::int64_t limit);
  [[nodiscard]] std::int64_t count_pending();
  /// createdAt of the oldest PENDING row.
  [[nodiscard]] std::optional<Timestamp> oldest_pending();

  struct Cleanup {
    int deleted = 0;
    bool more = false;  ///< call again, in a transaction of its own
  };
  /// Deletes up to `limit` PUBLISHED rows published before `before`. DEAD_LETTER stays, and in SQLite the
  /// newest row. Examines no more than ten times `limit` rows, and the next call goes on from there: rows
  /// that were published long after they were created (an outage) are examined once a pass, not once a call.
  [[nodiscard]] Cleanup cleanup(Transaction& transaction, Timestamp before, int limit);

  // What operators read.

  /// The newest rows first, at most `limit`.
  [[nodiscard]] virtual std::vector<OutboxRow> list(std::optional<RowStatus> status, int limit) = 0;
  /// The same of those whose status the model does not have.
  [[nodiscard]] virtual std::vector<OutboxRow> list_unknown_status(int limit) = 0;
  [[nodiscard]] std::optional<OutboxRow> find(const std::string& id);
  /// As of one moment; names at most so many blocked aggregates.
  [[nodiscard]] OutboxStats stats(int blocked_at_most = 10);

 protected:
  explicit OutboxRepository(Database& database);

  struct CleanupPage {
    int examined = 0, deleted = 0;
    OutboxPosition last{};  ///< of what was examined; its created_at in SQLite too
  };

  Database& database_;

 private:
  /// Examines up to `limit` PUBLISHED rows past `after` in the order of createdAt, and deletes those
  /// published before `before`. publishedAt has no index, but createdAt <= publishedAt. A foreign writer may
  /// leave publishedAt empty; updatedAt then says when it was.
  virtual CleanupPage delete_published(const OutboxPosition& after, Timestamp before, int limit) = 0;
  /// The first FAILED or PROCESSING row of each aggregate, in order: the texts of a BlockedAggregate, and the
  /// count of all such aggregates.
  virtual SqlRows read_blocked(int limit) = 0;
  /// How many rows have a status that the model does not have; not by a walk through the others.
  virtual std::int64_t count_unknown_status() = 0;

  OutboxPosition cleaned_;  // the row that cleanup() examined last
};

}  // namespace tidings
