#pragma once

// The clock by which ids of handled events are forgotten. By the wall clock, a jump ahead would empty the
// inbox, and what the stream hands out again would take effect again.

#include <tidings/timestamp.hpp>

#include <algorithm>
#include <chrono>
#include <optional>

namespace tidings {

/// Beyond the retention: a group that nobody has pruned for so long is gone, renamed for instance.
inline constexpr std::chrono::days gone_after{90};

/// Follows the wall clock, but moves no faster than `pace` times as fast as time really passes, from the time
/// that the inbox has last seen for any group. So a jump ahead leaves each id at least half of its retention,
/// and makes no group look gone, however many instances there are and however often they start; what they all
/// slept through is caught up with. Does no I/O.
class RetentionClock {
 public:
  using Steady = std::chrono::steady_clock;
  static constexpr int pace = 2;

  /// `seen` is the latest that this has returned, in any instance of any group; empty in a new inbox. The
  /// result is to be kept for the group when it is later than what is there.
  [[nodiscard]] Timestamp advance(Timestamp wall, std::optional<Timestamp> seen, Steady::time_point time) {
    if (!start_) start_ = {seen.value_or(wall), time};
    const auto passed = std::chrono::floor<Timestamp::duration>(time - start_->time);
    return std::min(wall, std::max(seen.value_or(wall), start_->seen + pace * passed));
  }

 private:
  struct Start {
    Timestamp seen;
    Steady::time_point time;
  };
  std::optional<Start> start_;
};

}  // namespace tidings
