#pragma once

// How long a message takes of late, to bound what is fetched ahead by time: what waits here for a slow
// handler is missing to instances that idle.

#include <algorithm>
#include <chrono>

namespace tidings {

/// Reads no clock. Belongs to one thread.
class HandlingPace {
 public:
  void add(std::chrono::nanoseconds took) { mean_ += (took - mean_) / settled; }

  /// How many messages are enough for so many handlers side by side; never more than `most`.
  [[nodiscard]] int enough(int handlers, int most) const {
    const int least = std::max(4, 2 * handlers);  // each has the next one at hand
    const auto fit = handlers * (work_ahead / std::max(mean_, std::chrono::nanoseconds{1}));
    return static_cast<int>(std::clamp<long>(fit, std::min(least, most), most));
  }

 private:
  static constexpr std::chrono::nanoseconds work_ahead = std::chrono::milliseconds{250};
  static constexpr int settled = 16;  // about so many messages replace what was known before

  std::chrono::nanoseconds mean_ = work_ahead / 64;  // little is fetched before anything is known
};

}  // namespace tidings
