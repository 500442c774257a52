#pragma once

// What the processor writes into the outbox: what became of events, and its own record.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/processor_status.hpp>
#include <tidings/timestamp.hpp>

#include <cstdint>
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

/// In the same transaction. `published` is by how much that changed the number of PUBLISHED rows. Their count
/// is kept in the record, since counting them takes longer the more there are; the first write counts them.
void write_processor_record(Transaction& transaction, const ProcessorStatus& status, std::int64_t published);

}  // namespace tidings
