#include "consumer/percentiles.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace tidings {
namespace {

constexpr std::chrono::minutes turn{1};

}  // namespace

void Percentiles::add(std::chrono::nanoseconds value, Clock::time_point now) {
  const auto next_turn = next_turn_.load(std::memory_order_relaxed);
  if (now >= next_turn) {
    const bool both_are_old = now >= next_turn + turn;
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

std::chrono::microseconds Percentiles::at(double share, Clock::time_point now) const {
  // Minutes also pass when nothing is added.
  const auto next_turn = next_turn_.load();
  if (now >= next_turn + turn) return std::chrono::microseconds{0};
  const auto current = current_.load();
  const bool last_one_counts = now < next_turn;
  const auto count_of = [&](std::size_t i) -> std::uint64_t {
    const std::uint64_t last_one = last_one_counts ? counts_[1 - current][i].load() : 0;
    return counts_[current][i].load() + last_one;
  };
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buckets; ++i) total += count_of(i);
  const auto wanted =
      std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < buckets && total > 0; ++i) {
    seen += count_of(i);
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
