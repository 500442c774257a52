#include "consumer/key_queues.hpp"

#include <algorithm>
#include <iterator>

namespace tidings {

void KeyQueues::add(const std::string& key, Ticket ticket, std::uint64_t place) {
  auto& queue = queues_[key];
  const auto next = std::ranges::upper_bound(queue.tickets, place, {}, &Waiting::place);
  queue.tickets.insert(next, {ticket, place});
  if (!queue.shut && queue.tickets.size() == 1) ready_.push_back(key);
}

std::optional<KeyQueues::Ticket> KeyQueues::next() {
  if (ready_.empty()) return std::nullopt;
  auto& queue = queues_.at(ready_.front());
  ready_.pop_front();
  const auto ticket = queue.tickets.front().ticket;
  queue.tickets.pop_front();
  queue.shut = true;
  return ticket;
}

void KeyQueues::done(const std::string& key) {
  const auto found = queues_.find(key);
  if (found == queues_.end()) return;
  if (found->second.tickets.empty()) {
    queues_.erase(found);
  } else {
    found->second.shut = false;
    ready_.push_back(key);
  }
}

std::vector<KeyQueues::Ticket> KeyQueues::clear(const std::string& key) {
  const auto found = queues_.find(key);
  if (found == queues_.end()) return {};
  auto& queue = found->second;
  std::vector<Ticket> cleared;
  std::ranges::transform(queue.tickets, std::back_inserter(cleared), &Waiting::ticket);
  queue.tickets.clear();
  if (!queue.shut) {
    std::erase(ready_, key);
    queues_.erase(found);
  }
  return cleared;
}

void KeyQueues::clear() {
  std::erase_if(queues_, [](const auto& entry) { return !entry.second.shut; });
  for (auto& [key, queue] : queues_) queue.tickets.clear();
  ready_.clear();
}

}  // namespace tidings
