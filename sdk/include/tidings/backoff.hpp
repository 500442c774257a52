#pragma once

// How long to wait before the next attempt. Pure arithmetic, without clock or random source, so that a delay
// can be computed again from stored columns.

#include <chrono>
#include <string_view>

namespace tidings {

struct Backoff {
  std::chrono::milliseconds base{1000};   ///< delay after the first failure, > 0
  std::chrono::milliseconds max{300000};  ///< no delay is longer, >= base

  /// The most that a setting may ask for.
  static constexpr std::chrono::milliseconds longest = std::chrono::hours{24};

  /// Both settings in milliseconds. Throws SettingError, also when max is below base.
  [[nodiscard]] static Backoff from_environment(const char* base_setting, const char* max_setting);

  /// Delay after failed attempt number `attempt` (1 is the first): base·2^(attempt-1), at most `max`, then
  /// lowered by up to a quarter. The share taken off comes from a hash of `key` and `attempt`: events that
  /// failed together do not come back together, and one event's delay is the same wherever it is computed.
  [[nodiscard]] std::chrono::milliseconds delay(int attempt, std::string_view key) const;
};

}  // namespace tidings
