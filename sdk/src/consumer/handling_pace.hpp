#pragma once

// How long a message takes of late, to bound what is fetched ahead by time: what waits here for a slow
// handler is missing to instances that idle.

#include <algorithm>
#include <chrono>

namespace tidings {

/// Reads no clock. Belongs to one thread.
class HandlingPace {
 public:
  void add(std::chrono::nanoseconds took) {
    weight_ = std::min(weight_ + 1, most_weight);
    mean_ += (std::min(took, outlier * mean_) - mean_) / weight_;
  }

  /// How many messages are enough for so many handlers side by side; never more than `most`.
  [[nodiscard]] int enough(int handlers, int most) const {
    const int least = std::max(4, 2 * handlers);  // each has the next one at hand
    const auto fit = handlers * (work_ahead / std::max(mean_, std::chrono::nanoseconds{1}));
    return static_cast<int>(std::clamp<long>(fit, std::min(least, most), most));
  }

 private:
  static constexpr std::chrono::nanoseconds work_ahead = std::chrono::milliseconds{250};
  // About so many messages replace what was known before: few enough to follow slow handlers, and enough for
  // a fast one that was held up once to stay fast.
  static constexpr int least_weight = 16, most_weight = 256;
  static constexpr int outlier = 16;  // times the mean; what takes longer counts as this

  std::chrono::nanoseconds mean_ = work_ahead / 64;  // little is fetched before anything is known
  int weight_ = least_weight;
};

}  // namespace tidings
