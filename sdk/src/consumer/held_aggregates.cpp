#include "consumer/held_aggregates.hpp"

#include <algorithm>

namespace tidings {
namespace {

using std::chrono::milliseconds;

// The retry goes first: those behind it come back this much later, and its hold lasts longer than that.
constexpr milliseconds behind{50};
constexpr milliseconds grace{500};

}  // namespace

void HeldAggregates::hold(const std::string& key, std::uint64_t sequence, Clock::time_point until,
                          Clock::time_point now) {
  std::erase_if(holds_, [now](const auto& entry) { return entry.second.until + grace <= now; });
  if (key.empty()) return;
  const auto [held, fresh] = holds_.try_emplace(key, Hold{sequence, until});
  if (!fresh && held->second.sequence >= sequence) held->second = {sequence, until};
}

void HeldAggregates::release(std::string_view key, std::uint64_t sequence) {
  if (holds_.empty()) return;
  const auto held = holds_.find(key);
  if (held != holds_.end() && held->second.sequence == sequence) holds_.erase(held);
}

std::optional<milliseconds> HeldAggregates::delay(std::string_view key, std::uint64_t sequence,
                                                  Clock::time_point now) {
  if (holds_.empty()) return std::nullopt;
  const auto held = holds_.find(key);
  if (held == holds_.end() || held->second.sequence >= sequence) return std::nullopt;
  if (held->second.until + grace <= now) {
    holds_.erase(held);
    return std::nullopt;
  }
  return std::max(std::chrono::ceil<milliseconds>(held->second.until - now), milliseconds{0}) + behind;
}

}  // namespace tidings
