#pragma once

// Writes into the outbox what became of events: published, failed, dead.

#include "infrastructure/database.hpp"
#include "infrastructure/outbox_event.hpp"

#include <tidings/timestamp.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// What became of an event.
struct OutboxMark {
  std::int64_t position = 0;
  std::string id;
  OutboxStatus status = OutboxStatus::published;
  int retry_count = 0;
  std::string error;  ///< for failed and dead_letter; what is past 1000 bytes is cut off
  Timestamp at;       ///< of the outcome; becomes updatedAt, except for processing, which keeps it
};

/// Not thread-safe. Throws DatabaseError.
class OutboxMarks {
 public:
  explicit OutboxMarks(Database& database);
  ~OutboxMarks();

  /// Writes marks inside a transaction whose fence was checked. Rows that are gone or already
  /// settled stay as they are. With `delete_published`, such rows are deleted instead, but for the
  /// table's newest, which is marked and left to cleanup. Returns how many rows have become PUBLISHED.
  int write(Transaction& transaction, const std::vector<OutboxMark>& marks, bool delete_published);

 private:
  struct Statements;
  struct Written {
    int changed = 0;
    int published = 0;  ///< of these, the ones that are PUBLISHED now
  };
  [[nodiscard]] Written write_run(const OutboxMark& first, const OutboxMark& last, bool delete_published);
  [[nodiscard]] bool is_at(const OutboxMark& mark);
  [[nodiscard]] std::int64_t newest();
  Written write_one(const OutboxMark& mark, bool delete_published);
  Written write_at(std::int64_t position, const OutboxMark& mark, bool delete_published);

  Database& database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace tidings
