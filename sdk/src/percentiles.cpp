#include "percentiles.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tidings {
namespace {

constexpr std::chrono::minutes turn{1};

}  // namespace

void Percentiles::add(std::chrono::nanoseconds value, Clock::time_point now) {
  if (now >= next_turn_) {
    const bool both_are_old = now >= next_turn_ + turn;
    const auto next = 1 - current_.load();
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

std::chrono::microseconds Percentiles::at(double share) const {
  std::uint64_t total = 0;
  for (const auto& counts : counts_)
    for (const auto& count : counts) total += count.load(std::memory_order_relaxed);
  const auto wanted =
      std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets && total > 0; ++i) {
    for (const auto& counts : counts_) seen += counts[i].load(std::memory_order_relaxed);
    if (seen >= wanted) return std::chrono::microseconds{upper_bound(i)};
  }
  return std::chrono::microseconds{0};
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
