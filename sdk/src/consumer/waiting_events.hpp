#pragma once

// Events that this instance has given back with a delay: retries, and events held back
// behind one. Each counts towards the group's max_ack_pending, and when that is used up,
// the group is handed nothing else.

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

  /// True once, when more than half of max_ack_pending is used up and most of this instance's events wait;
  /// true again only after less than a quarter was used. `ack_pending` is the group's number as last seen,
  /// over all instances.
  [[nodiscard]] bool crowd_out(std::uint64_t ack_pending, std::uint64_t max_ack_pending,
                               std::uint64_t in_flight, Clock::time_point now);

 private:
  std::priority_queue<Clock::time_point, std::vector<Clock::time_point>, std::greater<>> due_;
  bool warned_ = false;
};

}  // namespace tidings
