#pragma once

// Percentiles of durations over the last one to two minutes, in a few kilobytes
// however many there were: buckets that grow by an eighth.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tidings {

/// One thread adds, any number may read meanwhile.
class Percentiles {
 public:
  using Clock = std::chrono::steady_clock;

  void add(std::chrono::nanoseconds value, Clock::time_point now);

  /// The duration that this share of them (0.5: the median) did not exceed, rounded up to the end of its
  /// bucket; 0 when there were none.
  [[nodiscard]] std::chrono::microseconds at(double share, Clock::time_point now) const;

 private:
  static constexpr std::size_t steps = 8;  // in each doubling
  static constexpr std::size_t buckets = 44 * steps;
  using Counts = std::array<std::atomic<std::uint32_t>, buckets>;

  static std::size_t bucket(std::uint64_t microseconds);
  static std::uint64_t upper_bound(std::size_t bucket);

  std::array<Counts, 2> counts_{};  // this minute's and the last one's
  std::atomic<std::size_t> current_{0};
  std::atomic<Clock::time_point> next_turn_{};
};

}  // namespace tidings
