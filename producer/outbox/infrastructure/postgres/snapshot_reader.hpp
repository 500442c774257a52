#pragma once

// How the processor reads what is PENDING. A transaction can commit long after its
// rows were written, so no column tells commit order. It reads in looks: each takes
// the rows that the look before could not see, by the ids of their transactions, in
// the order of (createdAt, id). See docs/decisions/0007.

#include "infrastructure/postgres/postgres_database.hpp"

#include <tidings/outbox_event.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tidings {

/// For one session: once the database is connected to again, reading throws, and all is to be begun anew.
/// Not thread-safe. Throws SqlError.
class SnapshotReader {
 public:
  explicit SnapshotReader(PostgresDatabase& database) : database_(database), session_(database.session()) {}

  /// The next read() begins at the oldest row.
  void start_over();
  /// Replaces `out` by up to `limit` rows that were not given before; fewer when there are no more that are
  /// committed by now.
  void read(int limit, std::vector<OutboxEvent>& out);
  /// A row that was read by other means: it will not be given as well.
  void was_given(const std::string& id, std::uint32_t transaction);

 private:
  using Clock = std::chrono::steady_clock;

  /// One pass through what is PENDING. Ids of transactions are as pg_current_snapshot() writes them.
  struct Look {
    bool full = false;      ///< whatever createdAt says
    std::string lower;      ///< transactions below this one were seen by the look before; empty: none were
    OutboxPosition cursor;  ///< of the last row given
    std::string first_horizon;  ///< transactions below were over when this look began
    /// Rows before the cursor were given as far as transactions below this one had written them. What later
    /// ones have has createdAt from `late_from` on.
    std::string horizon;
    std::string late_from;
    Clock::time_point begun;
  };
  /// A row that was given out and may be met again.
  struct Given {
    std::uint32_t transaction = 0;
    std::uint64_t met_in_look = 0;
  };
  /// No transaction from `end` on has written rows with createdAt before `from`.
  struct Epoch {
    std::uint64_t end = 0;
    std::string from;
    Clock::time_point at;
  };

  void begin_look();
  [[nodiscard]] bool read_page(int limit, std::vector<OutboxEvent>& out);
  void keep_epoch(std::uint64_t end, std::string from);
  [[nodiscard]] std::string written_since(const std::string& horizon);
  void end_look();
  [[nodiscard]] bool give(const OutboxEvent& event, std::uint32_t transaction);
  [[nodiscard]] int may_be_met_again() const;

  PostgresDatabase& database_;
  const int session_;

  std::optional<Look> look_;
  std::uint64_t looks_ = 0;
  std::string horizon_, full_horizon_;  // of the last look, and of the last full one
  std::deque<Epoch> epochs_;            // the first is the last that all transactions of now are after
  Clock::time_point full_look_at_{};
  std::unordered_map<std::string, Given> given_;  // by id
};

}  // namespace tidings
