#include "consumer/hold_queue.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace tidings {

void HoldQueue::add(std::uint64_t sequence, const std::string& key, Time due) {
  events_.insert_or_assign(sequence, Held{key, due});
}

std::vector<std::uint64_t> HoldQueue::take(std::size_t max, Time now) {
  std::vector<std::uint64_t> taken;
  std::unordered_set<std::string_view> behind;  // keys; the texts are those of events that stay
  for (auto event = events_.begin(); event != events_.end() && taken.size() < max;) {
    const auto& [sequence, held] = *event;
    if (held.due > now || (!held.key.empty() && behind.contains(held.key))) {
      if (!held.key.empty()) behind.insert(held.key);
      ++event;
    } else {
      taken.push_back(sequence);
      event = events_.erase(event);
    }
  }
  return taken;
}

std::vector<std::uint64_t> HoldQueue::take_all() {
  std::vector<std::uint64_t> taken;
  taken.reserve(events_.size());
  for (const auto& [sequence, held] : events_) taken.push_back(sequence);
  events_.clear();
  return taken;
}

std::optional<HoldQueue::Time> HoldQueue::next_due(Time now) const {
  std::optional<Time> next;
  for (const auto& [sequence, held] : events_)
    if (held.due > now && (!next || held.due < *next)) next = held.due;
  return next;
}

std::size_t HoldQueue::held_keys(Time now) const {
  std::unordered_set<std::string_view> keys;
  for (const auto& [sequence, held] : events_)
    if (held.due > now) keys.insert(held.key);
  return keys.size();
}

std::string HoldQueue::longest_key(Time now) const {
  std::unordered_map<std::string_view, std::size_t> waiting;
  std::string_view longest;
  for (const auto& [sequence, held] : events_) {
    const auto known = waiting.find(held.key);
    if (held.key.empty() || (held.due <= now && known == waiting.end())) continue;
    if (++waiting[held.key] > (longest.empty() ? 0 : waiting[longest])) longest = held.key;
  }
  return std::string{longest};
}

}  // namespace tidings
