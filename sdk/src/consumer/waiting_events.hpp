#pragma once

// Events that this instance has given back for later: a retry, and those held back
// behind it. Each keeps a place among the events that the group may have open
// (max_ack_pending), and with all places taken the group is handed nothing else.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace tidings {

/// Does no I/O and reads no clock.
class WaitingEvents {
 public:
  using Clock = std::chrono::steady_clock;

  void add(Clock::time_point until, Clock::time_point now);
  [[nodiscard]] std::size_t count(Clock::time_point now);

  /// True once, when more than half of the places are taken and most of what is here waits; again only after
  /// fewer than a quarter were. `open` is what the group has open as last seen, by all instances.
  [[nodiscard]] bool crowd_out(std::uint64_t open, std::uint64_t max_ack_pending, std::uint64_t at_hand,
                               Clock::time_point now);

 private:
  std::priority_queue<Clock::time_point, std::vector<Clock::time_point>, std::greater<>> due_;
  bool told_ = false;
};

}  // namespace tidings
