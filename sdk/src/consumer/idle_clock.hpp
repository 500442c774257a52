#pragma once

// Tells a consumer that has nothing to do from one that cannot know: time in which
// messages are handled, or in which none could come, is not idle time.

#include <chrono>
#include <optional>

namespace tidings {

class IdleClock {
 public:
  using Clock = std::chrono::steady_clock;

  /// `limit` is how long a consumer may be idle; without one it may be for ever.
  explicit IdleClock(std::optional<std::chrono::milliseconds> limit) : limit_(limit) {}

  /// Something was done, or could not have been seen until now.
  void restart() noexcept { idle_since_ = Clock::now(); }

  /// When the limit is reached.
  [[nodiscard]] std::optional<Clock::time_point> deadline() const {
    return limit_ ? std::optional{idle_since_ + *limit_} : std::nullopt;
  }
  [[nodiscard]] bool expired() const { return limit_ && Clock::now() >= idle_since_ + *limit_; }

 private:
  std::optional<std::chrono::milliseconds> limit_;
  Clock::time_point idle_since_ = Clock::now();
};

}  // namespace tidings
