#include "consumer/key_queues.hpp"

#include <algorithm>
#include <iterator>

namespace tidings {

void KeyQueues::add(const std::string& key, Ticket ticket, std::uint64_t place) {
  auto& lane = lanes_[key];
  const auto next = std::ranges::upper_bound(lane.tickets, place, {}, &Waiting::place);
  lane.tickets.insert(next, {ticket, place});
  ++waiting_;
  if (!lane.shut && lane.tickets.size() == 1) ready_.push_back(key);
}

std::optional<KeyQueues::Ticket> KeyQueues::next() {
  if (ready_.empty()) return std::nullopt;
  auto& lane = lanes_.at(ready_.front());
  ready_.pop_front();
  const auto ticket = lane.tickets.front().ticket;
  lane.tickets.pop_front();
  lane.shut = true;
  --waiting_;
  return ticket;
}

void KeyQueues::done(const std::string& key) {
  const auto found = lanes_.find(key);
  if (found == lanes_.end()) return;
  if (found->second.tickets.empty()) {
    lanes_.erase(found);
  } else {
    found->second.shut = false;
    ready_.push_back(key);
  }
}

std::vector<KeyQueues::Ticket> KeyQueues::clear(const std::string& key) {
  const auto found = lanes_.find(key);
  if (found == lanes_.end()) return {};
  auto& lane = found->second;
  std::vector<Ticket> cleared;
  std::ranges::transform(lane.tickets, std::back_inserter(cleared), &Waiting::ticket);
  waiting_ -= cleared.size();
  lane.tickets.clear();
  if (!lane.shut) {
    std::erase(ready_, key);
    lanes_.erase(found);
  }
  return cleared;
}

std::vector<KeyQueues::Ticket> KeyQueues::clear() {
  std::vector<Ticket> cleared;
  for (auto lane = lanes_.begin(); lane != lanes_.end();) {
    auto& [tickets, shut] = lane->second;
    std::ranges::transform(tickets, std::back_inserter(cleared), &Waiting::ticket);
    tickets.clear();
    lane = shut ? std::next(lane) : lanes_.erase(lane);
  }
  ready_.clear();
  waiting_ = 0;
  return cleared;
}

}  // namespace tidings
