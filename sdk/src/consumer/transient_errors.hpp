#pragma once

// When a handler throws a transient error, the inbox may be away, or something else that the handler uses: a
// file that cannot be opened, a row that somebody else locks.

#include <chrono>
#include <optional>
#include <string>

namespace tidings {

/// After the first few of them an event is simply tried again: the inbox may be away, or it will pass. One
/// more while the inbox itself can commit is the handler's own failure. From then on, for as long as
/// `memory`, the first such error of another event counts as a failure too, if the inbox's transaction has
/// survived it. Does no I/O.
class TransientErrors {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int tolerated = 3;
  static constexpr std::chrono::minutes memory{1};

  /// Counts one more error, of the event with that EventKey::unique(). False when that is a failure of the
  /// handler.
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
