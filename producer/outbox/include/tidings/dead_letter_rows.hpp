#pragma once

// The rows of an outbox that have used up their attempts, for operators: back to the processor, or deleted.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tidings {

struct DeadLetterRow {
  OutboxPosition position;
  std::string id;
  std::string last_error;
};

/// Work on many rows is done in pages, each in a transaction of its own, so that writers of the service wait
/// for one page at most and a run that was interrupted is simply repeated. The order within an aggregate is
/// kept by giving rows back in the order of read(). Not thread-safe. Every function throws DatabaseError.
class DeadLetterRows {
 public:
  explicit DeadLetterRows(Database& database) : database_(database) {}

  [[nodiscard]] std::int64_t count();

  /// Those behind `after` in commit order, at most `limit`.
  [[nodiscard]] std::vector<DeadLetterRow> read(const OutboxPosition& after, int limit);

  /// Sets these rows to PENDING, with no attempt used, at their old places: before what still waits of their
  /// aggregates. Returns how many were DEAD_LETTER until now; the others stay as they are.
  int retry(Transaction& transaction, const std::vector<DeadLetterRow>& rows);

  /// Deletes these rows. Returns how many it were; in SQLite the table's newest row stays, as its place would
  /// be given out a second time.
  int purge(Transaction& transaction, const std::vector<DeadLetterRow>& rows);

 private:
  Database& database_;
};

/// True when `left` was committed before `right`, as read() has them.
[[nodiscard]] bool is_before(const DeadLetterRow& left, const DeadLetterRow& right);

}  // namespace tidings
