#include "consumer/waiting_events.hpp"

#include <algorithm>
#include <utility>

namespace tidings {

void WaitingEvents::add(Clock::time_point until, Clock::time_point now) {
  (void)count(now);
  due_.push(until);
}

std::size_t WaitingEvents::count(Clock::time_point now) {
  while (!due_.empty() && due_.top() <= now) due_.pop();
  return due_.size();
}

bool WaitingEvents::crowd_out(std::uint64_t ack_pending, std::uint64_t max_ack_pending,
                              std::uint64_t in_flight, Clock::time_point now) {
  const std::uint64_t waiting = count(now);
  const auto taken = std::max(ack_pending, waiting);
  if (taken < max_ack_pending / 4) warned_ = false;
  // Messages in flight are pending as well, but soon settled: many busy instances are no reason to warn.
  if (taken <= max_ack_pending / 2 || waiting <= in_flight) return false;
  return !std::exchange(warned_, true);
}

}  // namespace tidings
