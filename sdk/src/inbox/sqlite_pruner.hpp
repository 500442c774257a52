#pragma once

// Forgets what an inbox in SQLite has kept for long enough.

#include "database/statement_run.hpp"
#include "inbox/retention_clock.hpp"
#include "inbox/sqlite_tables.hpp"

#include <tidings/timestamp.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

namespace tidings {

/// Goes round: through the rows of one group, and then through those of groups that are gone.
class SqlitePruner {
 public:
  SqlitePruner(const SqliteTables& database, std::int64_t group) : database_(database), own_group_(group) {}

  /// As Inbox::prune().
  bool prune(std::chrono::hours age, int limit);

 private:
  void begin_round();
  [[nodiscard]] bool prune_step(std::int64_t group, std::int64_t before, int limit);
  void see(std::int64_t group);
  [[nodiscard]] std::optional<std::int64_t> next_gone(std::int64_t seen_before);

  const SqliteTables database_;
  const std::int64_t own_group_;
  SqliteTables::Statement seen_{database_, "SELECT max(seen_at) FROM inbox_group"};
  // Groups of older binaries have never been seen: their time begins now.
  SqliteTables::Statement see_{database_, R"sql(
      UPDATE inbox_group SET seen_at = ?1
       WHERE (id = ?2 OR seen_at IS NULL) AND (seen_at IS NULL OR seen_at < ?1))sql"};
  SqliteTables::Statement gone_{
      database_, "SELECT id FROM inbox_group WHERE id <> ? AND seen_at < ? ORDER BY id LIMIT 1"};
  SqliteTables::Statement end_{database_, R"sql(
      SELECT event_id FROM inbox WHERE group_id = ? AND event_id > ? ORDER BY event_id LIMIT 1 OFFSET ?)sql"};
  SqliteTables::Statement range_{database_, R"sql(
      DELETE FROM inbox WHERE group_id = ? AND event_id > ? AND event_id <= ? AND handled_at < ?)sql"};
  SqliteTables::Statement rest_{database_,
                                "DELETE FROM inbox WHERE group_id = ? AND event_id > ? AND handled_at < ?"};
  SqliteTables::Statement attempts_{database_,
                                    "DELETE FROM inbox_attempt WHERE group_id = ? AND updated_at < ?"};

  // Of the round; none when the next call begins one.
  std::optional<std::int64_t> group_;  // whose rows are looked at
  TextOrBlob position_;                // the key that the last step ended at
  Timestamp time_{};
  RetentionClock clock_;
};

}  // namespace tidings
