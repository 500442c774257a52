#pragma once

#include <algorithm>
#include <chrono>
#include <random>

namespace tidings {

/// How long to wait between attempts while a server is away: doubles from `first` up to `longest`.
class RetryPause {
 public:
  RetryPause(std::chrono::milliseconds first, std::chrono::milliseconds longest)
      : first_(first), longest_(longest), pause_(first) {}

  /// The pause after another failure, less up to a quarter, so that those who lost the same server do not
  /// come back to it as one.
  [[nodiscard]] std::chrono::milliseconds next() {
    const auto pause = pause_ - pause_ * static_cast<int>(random_() % 256) / 1024;
    pause_ = std::min(pause_ * 2, longest_);
    return pause;
  }

  /// After a success.
  void reset() noexcept { pause_ = first_; }

 private:
  std::chrono::milliseconds first_, longest_, pause_;
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace tidings
