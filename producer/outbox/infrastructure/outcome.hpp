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

/// In a transaction whose lease was checked. Rows that are gone or already settled stay as they are. With
/// `delete_published`, published rows are deleted (SQLite: except for the table's newest, which becomes
/// PUBLISHED and is left to cleanup). Returns how many rows have become PUBLISHED. Throws DatabaseError.
int write_outcomes(Transaction& transaction, const std::vector<Outcome>& outcomes, bool delete_published);

}  // namespace tidings
