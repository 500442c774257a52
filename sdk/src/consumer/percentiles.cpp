#include "consumer/percentiles.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace tidings {
namespace {

constexpr std::chrono::minutes turn{1};

}  // namespace

void Percentiles::add(std::chrono::nanoseconds value, Clock::time_point now) {
  if (const auto next_turn = next_turn_.load(std::memory_order_relaxed); now >= next_turn) {
    const auto next = 1 - current_.load();
    const bool both_are_old = now >= next_turn + turn;
    for (auto& count : counts_[next]) count = 0;
    if (both_are_old)
      for (auto& count : counts_[1 - next]) count = 0;
    current_ = next;
    next_turn_ = now + turn;
  }
  const auto micros = std::max<std::int64_t>(0, std::chrono::ceil<std::chrono::microseconds>(value).count());
  counts_[current_.load(std::memory_order_relaxed)][bucket(static_cast<std::uint64_t>(micros))].fetch_add(
      1, std::memory_order_relaxed);
}

std::chrono::microseconds Percentiles::at(double share, Clock::time_point now) const {
  std::array<std::uint64_t, buckets> counts{};
  const auto add = [&counts](const Counts& minute) {
    for (std::size_t i = 0; i < buckets; ++i) counts[i] += minute[i];
  };
  // Minutes also pass when nothing is added.
  const auto next_turn = next_turn_.load();
  const auto current = current_.load();
  if (now < next_turn + turn) add(counts_[current]);
  if (now < next_turn) add(counts_[1 - current]);
  std::partial_sum(counts.begin(), counts.end(), counts.begin());
  const auto rank = std::max(1.0, std::ceil(share * static_cast<double>(counts.back())));
  const auto found = std::ranges::lower_bound(counts, static_cast<std::uint64_t>(rank));
  if (found == counts.end()) return std::chrono::microseconds{0};
  return std::chrono::microseconds{upper_bound(static_cast<std::size_t>(found - counts.begin()))};
}

/// Whole microseconds up to 7, then eight steps for each doubling.
std::size_t Percentiles::bucket(std::uint64_t microseconds) {
  if (microseconds < steps) return static_cast<std::size_t>(microseconds);
  const auto doubling = static_cast<std::size_t>(std::bit_width(microseconds)) - 3;  // 8…15 is the first
  const auto step = static_cast<std::size_t>((microseconds >> (doubling - 1)) & (steps - 1));
  return std::min(doubling * steps + step, buckets - 1);
}

std::uint64_t Percentiles::upper_bound(std::size_t bucket) {
  if (bucket < steps) return bucket;
  const auto doubling = bucket / steps;
  const auto step = bucket % steps;
  return ((steps + step + 1) << (doubling - 1)) - 1;
}

}  // namespace tidings
