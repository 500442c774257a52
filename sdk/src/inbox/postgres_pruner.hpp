#pragma once

// Forgets what an inbox in PostgreSQL has kept for long enough.

#include "inbox/postgres_tables.hpp"
#include "inbox/retention_clock.hpp"

#include <tidings/timestamp.hpp>

#include <chrono>
#include <string>

namespace tidings {

/// Goes round: through the rows of one group, and then through those of groups that are gone.
class PostgresPruner {
 public:
  explicit PostgresPruner(PostgresTables& database) : database_(database) {}

  /// As Inbox::prune(), for the group with the id `own_group` in the database.
  bool prune(const std::string& own_group, std::chrono::hours age, int limit);

 private:
  void begin_round(const std::string& own_group);
  [[nodiscard]] bool prune_step(Timestamp before, int limit);
  void see(const std::string& group);
  [[nodiscard]] std::string next_gone(const std::string& own_group, Timestamp seen_before);

  PostgresTables& database_;
  // Of the round.
  std::string group_;     // whose rows are looked at; empty when the next call begins a round
  std::string position_;  // the key that the last step ended at
  Timestamp time_{};
  RetentionClock clock_;
};

}  // namespace tidings
