#include "services/aggregate_queues.hpp"

#include <utility>

namespace tidings {

AggregateQueues::Queue& AggregateQueues::of(const OutboxEvent& event) {
  auto found = queues_.find(event);
  if (found == queues_.end()) {
    found = queues_.emplace(Aggregate{event.aggregate_id, event.aggregate_type}, Queue{}).first;
    found->second.aggregate = &found->first;
  }
  return found->second;
}

void AggregateQueues::erase(const Queue& queue) { queues_.erase(queues_.find(*queue.aggregate)); }

AggregateQueues::Entry& AggregateQueues::push(Queue& queue, OutboxEvent&& event) {
  queue.last_position = event.position;
  auto& entry = entries_.try_emplace(entries_.end(), next_number_)->second;
  entry.event = std::move(event);
  entry.queue = &queue;
  entry.number = next_number_++;
  (queue.size == 0 ? queue.first : queue.last->next) = &entry;
  queue.last = &entry;
  ++queue.size;
  return entry;
}

OutboxEvent AggregateQueues::remove_first(Queue& queue) {
  auto& entry = *queue.first;
  queue.first = entry.next;
  if (queue.first == nullptr) queue.last = nullptr;
  --queue.size;
  auto event = std::move(entry.event);
  entries_.erase(entries_.find(entry.number));
  return event;
}

void AggregateQueues::remember_ties(Queue& queue, const OutboxEvent& settled) {
  const auto& created_at = settled.position.created_at;
  auto& ties = queue.settled_ties;
  if (ties.created_at != created_at) ties = {};
  const bool is_last_of_its_time =
      queue.first != nullptr && queue.first->event.position.created_at != created_at;
  if (created_at.empty() || is_last_of_its_time) return;
  ties.created_at = created_at;
  ties.ids.push_back(settled.id);
}

AggregateQueues::Entry* AggregateQueues::in_flight(std::uint64_t number) {
  const auto found = entries_.find(number);
  return found != entries_.end() && found->second.sent ? &found->second : nullptr;
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
