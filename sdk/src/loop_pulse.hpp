#pragma once

// Since when a loop has been in one step of its work: a step that hangs cannot say so itself.

#include <atomic>
#include <chrono>

namespace tidings {

/// The loop's thread calls step() and rest(), any thread the rest.
class LoopPulse {
 public:
  using Clock = std::chrono::steady_clock;

  /// A step begins, or has at `since`; the one before is done.
  void step(Clock::time_point since = Clock::now()) noexcept {
    busy_since_ = since.time_since_epoch().count();
  }
  /// It only waits now, for a time that it has chosen.
  void rest() noexcept { busy_since_ = resting; }

  [[nodiscard]] bool rests() const noexcept { return busy_since_ == resting; }
  /// 0 when it rests.
  [[nodiscard]] std::chrono::milliseconds busy_for() const noexcept {
    const auto since = busy_since_.load();
    if (since == resting) return {};
    return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch() -
                                                                 Clock::duration{since});
  }

 private:
  static constexpr Clock::rep resting = 0;
  std::atomic<Clock::rep> busy_since_{resting};
};

/// While it lives, another pulse tells of the loop: what the loop waits for now is somebody else's.
class PulseHandover {
 public:
  PulseHandover(LoopPulse& from, LoopPulse& to) : from_(from), to_(to), rested_(from.rests()) {
    from_.rest();
    to_.step();
  }
  ~PulseHandover() {
    to_.rest();
    if (!rested_) from_.step();
  }
  PulseHandover(const PulseHandover&) = delete;
  PulseHandover& operator=(const PulseHandover&) = delete;

 private:
  LoopPulse& from_;
  LoopPulse& to_;
  const bool rested_;
};

}  // namespace tidings
