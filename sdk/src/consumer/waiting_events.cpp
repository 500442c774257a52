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

bool WaitingEvents::crowd_out(std::uint64_t open, std::uint64_t max_ack_pending, std::uint64_t at_hand,
                              Clock::time_point now) {
  const std::uint64_t waiting = count(now);
  const auto taken = std::max(open, waiting);
  if (taken < max_ack_pending / 4) told_ = false;
  // What is at hand is open as well, but soon settled: many instances under load are no trouble.
  if (taken <= max_ack_pending / 2 || waiting <= at_hand) return false;
  return !std::exchange(told_, true);
}

}  // namespace tidings
