#include "services/publish_scheduler.hpp"

#include <utility>

namespace tidings {
namespace {

// In per-aggregate mode, a busy aggregate must not fill the window with waiting events.
constexpr std::uint32_t most_waiting_in_a_queue = 64;

// If commit order soon fails again (another publisher on the stream), it is retried at growing intervals.
constexpr std::uint64_t shortest_passing = 256, longest_passing = 65536;

}  // namespace

PublishScheduler::PublishScheduler(std::size_t window) : window_(window), passing_for_(shortest_passing) {}

void PublishScheduler::offer(OutboxEvent event) {
  auto& queue = queues_.of(event);
  const bool full = !in_order_ && queue.size >= most_waiting_in_a_queue;
  if (queue.blocked || queue.left_behind > 0 || queue.refilling || full) return leave_in_table(queue);
  take(queue, std::move(event));
}

void PublishScheduler::block(const OutboxEvent& head, Timestamp retry_at) {
  auto& queue = queues_.of(head);
  if (queue.blocked) return leave_in_table(queue);  // behind an earlier one
  block(queue, head, retry_at);
}

void PublishScheduler::block(Queue& queue, const OutboxEvent& head, Timestamp retry_at) {
  queue.blocked = AggregateQueues::BlockedHead{.position = head.position, .retry_count = head.retry_count};
  retries_.emplace(retry_at, &queue);
}

std::optional<PublishScheduler::Refill> PublishScheduler::next_refill(Timestamp now) {
  const auto refill_of = [](Queue& queue, bool retry, int retry_count = 0) {
    queue.refilling = true;
    const auto& [id, type] = *queue.aggregate;
    return Refill{id, type, queue.last_position, retry, retry_count, &queue};
  };
  for (auto due = retries_.begin(); due != retries_.end() && due->first <= now; ++due) {
    auto& queue = *due->second;
    if (queue.size > 0) continue;  // what went before it is still in flight
    retries_.erase(due);
    const auto head = *std::exchange(queue.blocked, std::nullopt);
    queue.last_position = head.position;
    return refill_of(queue, true, head.retry_count);
  }
  if (refills_.empty()) return std::nullopt;
  auto& queue = *refills_.front();
  refills_.pop_front();
  return refill_of(queue, false);
}

void PublishScheduler::refill(const Refill& request, std::vector<OutboxEvent> rows, bool complete) {
  auto& queue = *request.queue;
  queue.refilling = false;
  if (!request.retry) {  // a retry's head was not counted as left behind, and nothing past it was read
    const auto taken = static_cast<std::int64_t>(rows.size());
    queues_.leave_behind(queue, complete ? 0 : std::max<std::int64_t>(1, queue.left_behind - taken));
  } else if (!rows.empty()) {
    rows.front().retry_count = std::max(rows.front().retry_count, request.retry_count);
  }
  // These rows go out after those in memory, though they are older: in commit order all behind them would
  // wait.
  if (in_order_ && !chain_allowed_ && !rows.empty()) break_order();
  for (auto& row : rows) take(queue, std::move(row));
  if (queue.size == 0) advance(queue);
  landed();
}

std::optional<PublishScheduler::Send> PublishScheduler::next_send() {
  if (settling_ || head_in_flight_ || ready_.empty() || (probing_ && in_flight_ > 0)) return std::nullopt;
  auto& entry = *ready_.front();
  if (!chained() && entry.queue->first != &entry) return std::nullopt;
  ready_.pop_front();
  entry.sent = true;
  ++in_flight_;
  Send send{entry.number, &entry.event, chained() ? last_sent_ : std::string{}};
  head_in_flight_ = chained() && last_sent_.empty();
  last_sent_ = entry.event.id;
  return send;
}

std::optional<OutboxEvent> PublishScheduler::stored(std::uint64_t token, bool duplicate) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return std::nullopt;
  const bool head = std::exchange(head_in_flight_, false);
  auto& queue = *entry->queue;
  auto event = queues_.remove(*entry);
  --in_flight_;
  ++stored_in_this_state_;
  probing_ = false;
  advance(queue);
  if (head && duplicate)
    break_order();
  else
    try_order_again();
  landed();
  return event;
}

std::optional<OutboxEvent> PublishScheduler::refused(std::uint64_t token, const RetryAt& retry_at) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return std::nullopt;
  auto& queue = *entry->queue;
  // An earlier event of its aggregate is not stored: this one was sent too early.
  if (queue.blocked || queue.first != entry) {
    returned(token);
    return std::nullopt;
  }
  auto event = queues_.remove(*entry);
  --in_flight_;
  ++event.retry_count;
  probing_ = false;
  if (in_order_) break_order();
  if (const auto time = retry_at(event)) {
    // What waits behind it stays in the table, so that blocked aggregates cost little memory.
    // Events in flight are dropped from memory too, once their results arrive.
    drop_unsent(queue);
    block(queue, event, *time);
  } else {
    advance(queue);
  }
  landed();
  return event;
}

void PublishScheduler::returned(std::uint64_t token) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return;
  auto& queue = *entry->queue;
  entry->sent = false;
  --in_flight_;
  if (queue.blocked) {
    queues_.remove(*entry);
    leave_in_table(queue);
  } else if (!in_order_ && !settling_) {
    ready_.push_front(entry);
  }
  if (in_order_) break_order();
  landed();
}

void PublishScheduler::allow_chain(bool allowed) {
  if (std::exchange(chain_allowed_, allowed) == allowed || !in_order_) return;
  settling_ = true;
  landed();
}

std::optional<Timestamp> PublishScheduler::next_retry() const {
  if (retries_.empty()) return std::nullopt;
  return retries_.begin()->first;
}

void PublishScheduler::take(Queue& queue, OutboxEvent&& event) {
  auto& entry = queues_.push(queue, std::move(event));
  if (settling_) return;  // becomes ready once settling is over
  if (in_order_ || queue.size == 1) ready_.push_back(&entry);
}

void PublishScheduler::drop_unsent(Queue& queue) {
  std::erase_if(ready_, [&queue](const Entry* entry) { return entry->queue == &queue; });
  for (auto* entry = queue.first; entry != nullptr;) {
    auto* const next = entry->next;
    if (!entry->sent) {
      queues_.remove(*entry);
      leave_in_table(queue);
    }
    entry = next;
  }
}

/// The aggregate's next step after one of its events is settled.
void PublishScheduler::advance(Queue& queue) {
  if (queue.size > 0) {
    if (!in_order_ && !settling_ && !queue.first->sent) ready_.push_back(queue.first);
  } else if (queue.blocked || queue.refilling) {
    // It goes on when its retry is due, or when its rows are read.
  } else if (queue.left_behind > 0) {
    queue.refilling = true;
    refills_.push_back(&queue);
  } else {
    queues_.erase(queue);
  }
}

/// Nothing that was sent may be overtaken by what is sent next: wait until all has landed.
void PublishScheduler::break_order() {
  const bool held_long = stored_in_this_state_ >= 8 * passing_for_;
  passing_for_ = held_long ? shortest_passing : std::min(2 * passing_for_, longest_passing);
  stored_in_this_state_ = 0;
  in_order_ = false;
  settling_ = true;
  head_in_flight_ = false;
}

void PublishScheduler::try_order_again() {
  if (in_order_ || settling_ || stored_in_this_state_ < passing_for_) return;
  // Rows that were left behind come in aggregate by aggregate, and would block one another in turn.
  if (!chain_allowed_ && queues_.left_behind() > 0) return;
  // Start a chain only when no unchained event is in flight; otherwise one could be overtaken.
  stored_in_this_state_ = 0;
  in_order_ = true;
  settling_ = true;
}

void PublishScheduler::landed() {
  if (!settling_ || in_flight_ > 0) return;
  settling_ = false;
  last_sent_.clear();
  ready_.clear();
  for (auto& [number, entry] : queues_.entries())
    if (in_order_ || entry.queue->first == &entry) ready_.push_back(&entry);
}

}  // namespace tidings
