#pragma once

#include <tidings/timestamp.hpp>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>

namespace tidings {

/// Wall-clock time for delays: when the clock is set back, this one goes on from where it was, so that
/// what was due in a second is not due in an hour.
class ForwardClock {
 public:
  explicit ForwardClock(std::function<Timestamp()> wall) : wall_(std::move(wall)), latest_(wall_()) {}

  [[nodiscard]] Timestamp now() {
    const auto time = wall_() + ahead_;
    if (time < latest_) ahead_ += latest_ - time;
    latest_ = std::max(latest_, time);
    return latest_;
  }

  /// The time `delay` after `begin`, a time of the wall clock. One that lies ahead of the clock counts as
  /// now.
  [[nodiscard]] Timestamp after(Timestamp begin, std::chrono::milliseconds delay) {
    const auto passed =
        std::clamp(std::chrono::milliseconds{wall_() - begin}, std::chrono::milliseconds{0}, delay);
    return now() + (delay - passed);
  }

 private:
  std::function<Timestamp()> wall_;
  std::chrono::milliseconds ahead_{0};  // by so much of the wall clock
  Timestamp latest_;
};

}  // namespace tidings
