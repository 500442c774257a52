#pragma once

// The table outbox_event: writing an event in a service's own transaction, what
// the processor reads and cleans up, and what operators look at. What became of
// events is written by OutboxMarks.

#include "domain/domain_event.hpp"
#include "infrastructure/database.hpp"
#include "infrastructure/outbox_event.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// For people: a whole row, texts as stored. A status that is none of the model's reads as
/// dead_letter: like those, the processor leaves it alone.
struct OutboxRow {
  OutboxEvent event;
  std::string last_error, created_at, processed_at, published_at;
};

/// Not thread-safe: one repository for each connection and thread. Every function throws DatabaseError.
/// Positions grow in commit order, as SQLite gives out max(rowid)+1; for that, neither write_marks()
/// nor cleanup() deletes the newest row, whose position would otherwise be given out a second time.
class OutboxRepository {
 public:
  /// Throws DatabaseError "run `auth-service migrate`" when the table is not there.
  explicit OutboxRepository(Database& database);
  ~OutboxRepository();

  /// Writes the event as PENDING in the caller's transaction.
  void add(Transaction& transaction, const DomainEvent& event);

  // What the processor reads, always in commit order.

  /// Replaces `out` by the PENDING rows past `after`, at most `limit`. Costs by the rows between, of
  /// whatever status: start at pending_range().first - 1.
  void read_pending(std::int64_t after, int limit, std::vector<OutboxEvent>& out);
  /// Rows of one aggregate that are not settled (PENDING, FAILED, PROCESSING), past `after` and up to `last`.
  [[nodiscard]] std::vector<OutboxEvent> read_aggregate(const std::string& aggregate_id,
                                                        const std::string& aggregate_type, std::int64_t after,
                                                        std::int64_t last, int limit);
  /// createdAt of the oldest PENDING row.
  [[nodiscard]] std::optional<Timestamp> oldest_pending();
  /// FAILED and PROCESSING rows without their eventData, past `after`, at most `limit`.
  [[nodiscard]] std::vector<OutboxEvent> read_retries(std::int64_t after, int limit);

  struct PendingRange {
    std::int64_t count = 0;
    std::int64_t first = 0;  ///< position; 0 when there is none
  };
  [[nodiscard]] PendingRange pending_range();

  struct Cleanup {
    int deleted = 0;
    bool more = false;  ///< call again, in a transaction of its own
  };
  /// Deletes up to `limit` PUBLISHED rows published before `before`. DEAD_LETTER and the newest row
  /// stay. Looks at no more than ten times `limit` rows, and the next call goes on from there: rows
  /// that were published long after they were created are looked at once a pass, not once a call.
  [[nodiscard]] Cleanup cleanup(Transaction& transaction, Timestamp before, int limit);

  // What operators read.

  /// The newest rows first (by position, of one status by createdAt), at most `limit`.
  [[nodiscard]] std::vector<OutboxRow> list(std::optional<OutboxStatus> status, int limit);
  [[nodiscard]] std::optional<OutboxRow> find(const std::string& id);

 private:
  struct Statements;

  Database& database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace tidings
