#include "services/aggregate_queues.hpp"

#include <functional>
#include <utility>

namespace tidings {
namespace {

// A token is the event's number above its slot, so that one that comes late finds its slot taken over.
constexpr unsigned slot_bits = 20;
constexpr std::uint64_t slot_mask = (std::uint64_t{1} << slot_bits) - 1;

}  // namespace

std::size_t AggregateQueues::Hash::operator()(const View& view) const noexcept {
  const std::hash<std::string_view> hash;
  return hash(view.id) * 31 + hash(view.type);
}

AggregateQueues::Queue& AggregateQueues::of(const OutboxEvent& event) {
  const View view{event.aggregate_id, event.aggregate_type};
  auto found = queues_.find(view);
  if (found == queues_.end()) {
    found = queues_.emplace(Aggregate{event.aggregate_id, event.aggregate_type}, Queue{}).first;
    found->second.aggregate = &found->first;
  }
  return found->second;
}

AggregateQueues::Queue& AggregateQueues::find(std::string_view aggregate_id,
                                              std::string_view aggregate_type) {
  return queues_.find(View{aggregate_id, aggregate_type})->second;
}

void AggregateQueues::erase(const Queue& queue) { queues_.erase(queues_.find(View{*queue.aggregate})); }

AggregateQueues::Slot AggregateQueues::push(Queue& queue, OutboxEvent event) {
  if (free_.empty()) {
    free_.push_back(static_cast<Slot>(entries_.size()));
    entries_.emplace_back();
  }
  const auto slot = free_.back();
  free_.pop_back();
  queue.last_position = event.position;
  entries_[slot] = {std::move(event), &queue, next_number_++, none, false};
  (queue.size == 0 ? queue.first : entries_[queue.last].next) = slot;
  queue.last = slot;
  ++queue.size;
  return slot;
}

OutboxEvent AggregateQueues::remove(Slot slot) {
  auto& queue = *entries_[slot].queue;
  Slot before = none;
  for (auto at = queue.first; at != slot; at = entries_[at].next) before = at;
  const auto next = entries_[slot].next;
  (before == none ? queue.first : entries_[before].next) = next;
  if (queue.last == slot) queue.last = before;
  --queue.size;
  entries_[slot].number = 0;
  entries_[slot].sent = false;
  free_.push_back(slot);
  return std::move(entries_[slot].event);
}

std::uint64_t AggregateQueues::token_of(Slot slot) const noexcept {
  return (entries_[slot].number << slot_bits) | slot;
}

AggregateQueues::Slot AggregateQueues::in_flight(std::uint64_t token) const noexcept {
  const auto slot = static_cast<Slot>(token & slot_mask);
  if (slot >= entries_.size() || token_of(slot) != token || !entries_[slot].sent) return none;
  return slot;
}

void AggregateQueues::leave_behind(Queue& queue, std::int64_t rows) {
  left_behind_ += rows - queue.left_behind;
  queue.left_behind = rows;
}

void AggregateQueues::forget_left_behind() {
  for (auto& [aggregate, queue] : queues_) queue.left_behind = 0;
  left_behind_ = 0;
}

}  // namespace tidings
