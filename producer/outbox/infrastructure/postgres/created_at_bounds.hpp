#pragma once

// How far back a scan of the outbox must look in createdAt for rows that the last snapshot did not show:
// those of transactions that were open then, or have begun since. See docs/decisions/0007.

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

namespace tidings {

/// 64 bits, as pg_current_snapshot() writes them: they do not wrap around.
using TransactionId = std::uint64_t;

/// Remembers which transaction id was the next to be given out at which time: a transaction with that id or a
/// later one has written nothing before. Times are as PostgreSQL writes them.
class CreatedAtBounds {
 public:
  using Clock = std::chrono::steady_clock;

  /// What a statement has told: transactions below `oldest_open` are over, and those from `next_id` on write
  /// no rows with createdAt before `created_from`. Later statements tell no smaller ids.
  ///
  /// The last bound is as new as can be. Between those before it are gaps, which grow with the time that a
  /// transaction is open: there are some hundred bounds after an hour, and what a scan reads too much is a
  /// small share of that hour's rows.
  void add(TransactionId oldest_open, TransactionId next_id, std::string created_from,
           Clock::time_point now) {
    if (bounds_.size() > 1) {
      const auto& before = bounds_[bounds_.size() - 2];
      const auto gap = shortest_gap + (before.at - bounds_.front().at) / share_of_open_time;
      if (bounds_.back().at - before.at < gap) bounds_.pop_back();
    }
    bounds_.push_back({next_id, std::move(created_from), now});
    oldest_open_ = oldest_open;
    while (bounds_.size() > 1 && bounds_[1].next_id <= oldest_open_) bounds_.pop_front();
  }

  /// Rows that the last statement's snapshot does not show have createdAt from here on; empty while it is not
  /// known since when its oldest open transaction has been open.
  [[nodiscard]] std::optional<std::string> hidden_from() const {
    if (bounds_.empty() || bounds_.front().next_id > oldest_open_) return std::nullopt;
    return bounds_.front().created_from;
  }

  [[nodiscard]] std::size_t size() const noexcept { return bounds_.size(); }

 private:
  static constexpr std::chrono::milliseconds shortest_gap{50};
  static constexpr int share_of_open_time = 64;

  struct Bound {
    TransactionId next_id = 0;
    std::string created_from;
    Clock::time_point at;
  };

  TransactionId oldest_open_ = 0;
  std::deque<Bound> bounds_;  // front(): the newest that is not newer than the oldest open transaction
};

}  // namespace tidings
