#pragma once

// A transient error of a handler's may be the inbox's trouble, or that of something else which the handler
// uses: a file that cannot be opened, a row that another locks.

#include <chrono>

namespace tidings {

/// The first few are taken for the inbox's, or for a moment's: the same messages are tried again. What still
/// fails then, while the inbox itself takes a commit, is the handler's own failure. Does no I/O.
class TransientErrors {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int tolerated = 3;
  /// After so long without one, the next is the first again.
  static constexpr std::chrono::minutes memory{1};

  /// There was one more. False when it counts as a failure.
  [[nodiscard]] bool tolerate(Clock::time_point time) {
    if (time - last_ > memory) count_ = 0;
    last_ = time;
    if (count_ == tolerated) return false;
    ++count_;
    return true;
  }

 private:
  int count_ = 0;
  Clock::time_point last_{};
};

}  // namespace tidings
