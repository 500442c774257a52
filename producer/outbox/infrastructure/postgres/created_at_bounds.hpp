#pragma once

// How far back a scan of the outbox must look in createdAt for rows that the last snapshot did not show:
// those of transactions that were open then, or have begun since. See docs/decisions/0007.

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace tidings {

/// 64 bits, as pg_current_snapshot() writes them: they do not wrap around.
using TransactionId = std::uint64_t;

/// Remembers which transaction id was the next to be given out at which time: who has that id or a later one
/// has written nothing before. Times are as PostgreSQL writes them.
class CreatedAtBounds {
 public:
  using Clock = std::chrono::steady_clock;

  /// What a statement has told: transactions below `oldest_open` are over, and those from `next_id` on write
  /// no rows with createdAt before `created_from`. Later statements tell no smaller ids.
  void add(TransactionId oldest_open, TransactionId next_id, std::string created_from, Clock::time_point now);

  /// Rows that the last statement's snapshot does not show have createdAt from here on; empty while it is not
  /// known since when its oldest open transaction has been open.
  [[nodiscard]] std::optional<std::string> hidden_from() const;

  [[nodiscard]] std::size_t size() const noexcept { return bounds_.size(); }

 private:
  struct Bound {
    TransactionId next_id = 0;
    std::string created_from;
    Clock::time_point at;
  };

  TransactionId oldest_open_ = 0;
  std::deque<Bound> bounds_;  // front(): the newest that is no newer than the oldest open transaction
};

}  // namespace tidings
