#pragma once

// A transient error of a handler's may be the inbox's trouble, or that of something else which the handler
// uses: a file that cannot be opened, a row that another locks.

#include <chrono>
#include <optional>
#include <string>

namespace tidings {

/// An event's first few are taken for the inbox's, or for a moment's: it is tried again. What still fails
/// then, while the inbox itself takes a commit, is the handler's own failure. For a while the like of other
/// events is judged at once, as long as the inbox's transaction has survived it. Does no I/O.
class TransientErrors {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int tolerated = 3;
  static constexpr std::chrono::minutes memory{1};

  /// There was one more, of the event with that EventKey::unique(). False when it counts as a failure.
  [[nodiscard]] bool tolerate(const std::string& event, bool inbox_survived, Clock::time_point time) {
    if (event != event_ || time - last_ > memory) count_ = 0;
    event_ = event;
    last_ = time;
    const bool often = ++count_ > tolerated;
    const bool like_others = inbox_survived && blamed_ && time - *blamed_ <= memory;
    if (inbox_survived && (often || like_others)) blamed_ = time;
    return !often && !like_others;
  }

 private:
  std::string event_;  // of the last error
  int count_ = 0;      // of its errors in a row
  Clock::time_point last_{};
  std::optional<Clock::time_point> blamed_;  // when handlers were last found to fail by themselves
};

}  // namespace tidings
