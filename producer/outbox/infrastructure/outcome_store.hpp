#pragma once

// Writes into the outbox what became of events: published, failed, dead.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/timestamp.hpp>

#include <string>
#include <vector>

namespace tidings {

/// What became of an event.
struct Outcome {
  OutboxPosition position;
  std::string id;
  RowStatus status = RowStatus::published;  ///< not pending
  int retry_count = 0;
  std::string error;  ///< for failed and dead_letter; what is past 1000 bytes is cut off
  Timestamp at;       ///< when it was known; becomes updatedAt, except for processing, which keeps it
};

/// Not thread-safe. Throws DatabaseError.
class OutcomeStore {
 public:
  virtual ~OutcomeStore() = default;
  OutcomeStore(const OutcomeStore&) = delete;
  OutcomeStore& operator=(const OutcomeStore&) = delete;

  /// Writes outcomes inside a transaction whose lease was checked. Rows that are gone or already settled stay
  /// as they are. With `delete_published`, published rows are deleted (SQLite: except for the table's newest,
  /// which becomes PUBLISHED and is left to cleanup). Returns how many rows have become PUBLISHED.
  int write(Transaction& transaction, const std::vector<Outcome>& outcomes, bool delete_published);

 protected:
  using Iterator = std::vector<Outcome>::const_iterator;

  explicit OutcomeStore(Database& database) : database_(database) {}

  /// Ends the conditions of each statement: settled rows stay as they are.
  inline static const std::string not_settled = " AND status IN ('PENDING', 'PROCESSING', 'FAILED')";

  Database& database_;

 private:
  /// For outcomes that all are published; returns how many rows have become PUBLISHED.
  virtual int write_published(Iterator begin, Iterator end, bool delete_published) = 0;
  void write_other(const Outcome& outcome);
};

}  // namespace tidings
