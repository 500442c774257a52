#include "services/publish_scheduler.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

// What the server takes; and what it need not hold more of, before it knows whether it will be committed.
constexpr std::size_t most_in_batch = 1000;
constexpr std::size_t most_bytes_in_batch = std::size_t{4} << 20U;

// To commit a batch takes as long as some ten PubAcks one after the other (decision 0011).
constexpr std::uint32_t shortest_run = 16;

bool has(const AggregateQueues::Queue& queue, const OutboxPosition& position) {
  for (const auto* entry = queue.first; entry != nullptr; entry = entry->next)
    if (entry->event.position == position) return true;
  return false;
}

/// In memory and the processor's own: in flight, or taken as one to be tried again.
bool is_own(const AggregateQueues::Queue& queue, const OutboxPosition& position) {
  for (const auto* entry = queue.first; entry != nullptr; entry = entry->next)
    if (entry->event.position == position) return entry->sent || entry->event.status != RowStatus::pending;
  return false;
}

}  // namespace

PublishScheduler::PublishScheduler(std::size_t window, int partitions)
    : window_(window), suspects_(partitions) {}

void PublishScheduler::offer(OutboxEvent event) {
  auto& queue = queues_.of(event);
  if (queue.blocked || queue.has_rows_behind() || queue.refilling) return leave_in_table(queue);
  // A row that was read before and not settled, and that another program has written to meanwhile.
  if (queue.size > 0 && !(queue.last_position < event.position) && has(queue, event.position)) return;
  take(queue, std::move(event));
}

void PublishScheduler::block(const OutboxEvent& head, Timestamp due, std::optional<Timestamp> look_at) {
  auto& queue = queues_.of(head);
  if (queue.blocked)  // behind an earlier one
    queue.more_behind = true;
  else
    block(queue, head, due, look_at);
}

void PublishScheduler::block(Queue& queue, const OutboxEvent& head, Timestamp due,
                             std::optional<Timestamp> look_at) {
  if (queue.blocked) {
    // The old head lies behind the new one, and is read again when that is settled.
    std::erase_if(retries_, [&queue](const auto& retry) { return retry.second == &queue; });
    queue.more_behind = true;
  }
  queue.blocked = AggregateQueues::BlockedHead{
      .position = head.position, .retry_count = head.retry_count, .due = due, .updated_at = head.updated_at};
  retries_.emplace(std::min(due, look_at.value_or(due)), &queue);
}

/// A row becomes the head of its aggregate, and a refill that was asked for begins behind it. Passed over:
/// the head as it is known, a row that a pending refill will meet, and a row of our own. Behind the head, a
/// row is only known to be there.
void PublishScheduler::notice(const OutboxEvent& row, Timestamp due, std::optional<Timestamp> look_at) {
  auto& queue = queues_.of(row);
  if (queue.blocked) {
    const auto& head = *queue.blocked;
    if (head.position == row.position && head.updated_at >= row.updated_at) return;
    if (head.position < row.position) {
      queue.more_behind = true;
      return;
    }
  } else if (queue.last_position < row.position && (queue.refilling || queue.has_rows_behind())) {
    return;
  }
  if (is_own(queue, row.position)) return;
  if (std::exchange(queue.refilling, false)) std::erase(refills_, &queue);
  dissolve_runs();
  block(queue, row, due, look_at);
}

std::optional<PublishScheduler::Refill> PublishScheduler::next_refill(Timestamp now) {
  const auto refill_of = [](Queue& queue) {
    queue.refilling = true;
    Refill refill{.aggregate_id = queue.aggregate->aggregate_id,
                  .aggregate_type = queue.aggregate->aggregate_type,
                  .after = queue.last_position,
                  .settled_beside = {},
                  .queue = &queue};
    if (const auto& ties = queue.settled_ties; ties.created_at == refill.after.created_at)
      refill.settled_beside = ties.ids;
    return refill;
  };
  for (auto due = retries_.begin(); due != retries_.end() && due->first <= now; ++due) {
    auto& queue = *due->second;
    if (queue.size > 0) continue;  // what went before it is still in flight
    retries_.erase(due);
    const auto head = *std::exchange(queue.blocked, std::nullopt);
    queue.last_position = head.position;
    auto retry = refill_of(queue);
    retry.retry = true;
    retry.retry_count = head.retry_count;
    retry.due = head.due;
    retry.updated_at = head.updated_at;
    return retry;
  }
  if (refills_.empty()) return std::nullopt;
  auto& queue = *refills_.front();
  refills_.pop_front();
  return refill_of(queue);
}

void PublishScheduler::refill(const Refill& request, std::vector<OutboxEvent> rows, bool complete) {
  auto& queue = *request.queue;
  queue.refilling = false;
  if (!request.retry) {  // a retry's head was not counted as left behind, and nothing past it was read
    const auto taken = static_cast<std::int64_t>(rows.size());
    queues_.leave_behind(queue, complete ? 0 : std::max<std::int64_t>(0, queue.left_behind - taken));
    queue.more_behind = !complete;
  } else if (!rows.empty()) {
    rows.front().retry_count = std::max(rows.front().retry_count, request.retry_count);
  }
  for (auto& row : rows) take(queue, std::move(row));
  if (queue.size == 0) advance(queue);
}

std::optional<PublishRequest> PublishScheduler::next_send(bool probe_suspects) {
  if (probing_ || !batches_allowed_) dissolve_runs();
  if (probing_ && in_flight_ > 0) return std::nullopt;
  while (!ready_.empty()) {
    auto& entry = *ready_.top().second;
    ready_.pop();
    if (leave_if_blocked(entry)) continue;
    if (!entry.on_trial && suspects_.contains(entry))
      suspects_.hold(entry);
    else if (goes_in_batch(*entry.queue))
      runs_.push_back(entry.queue);
    else
      return send(entry);
  }
  if (!probe_suspects || suspects_.empty() || in_flight_ > 0 || !runs_.empty()) return std::nullopt;
  while (auto* const probe = suspects_.take_probe())
    if (!leave_if_blocked(*probe)) return send(*probe);
  return std::nullopt;
}

/// What was taken into memory before its aggregate was found to be blocked; `entry` is the first of its
/// queue, and not in flight.
bool PublishScheduler::leave_if_blocked(Entry& entry) {
  auto& queue = *entry.queue;
  if (!queue.blocked || entry.event.position < queue.blocked->position) return false;
  if (entry.on_trial) suspects_.end_trial(entry);
  leave_all_in_table(queue);
  return true;
}

PublishRequest PublishScheduler::send(Entry& entry) {
  entry.sent = true;
  entry.sent_at = ++sends_;
  ++in_flight_;
  return {entry.number, &entry.event};
}

bool PublishScheduler::next_batch(std::vector<PublishRequest>& batch) {
  batch.clear();
  std::size_t bytes = 0;
  const auto has_room = [&] { return batch.size() < most_in_batch && bytes < most_bytes_in_batch; };
  while (!runs_.empty() && has_room()) {
    const auto fits = [&](const auto& entry) { return has_room() && may_be_batched(entry); };
    for (auto* entry = runs_.front()->first; entry != nullptr && fits(*entry); entry = entry->next) {
      entry->in_batch = true;
      bytes += entry->event.event_data.size();
      batch.push_back(send(*entry));
    }
    runs_.pop_front();
  }
  std::ranges::sort(batch, {}, &PublishRequest::token);
  return !batch.empty();
}

bool PublishScheduler::may_be_batched(const Entry& entry) const {
  return !entry.alone && entry.event.data_is_read && !suspects_.contains(entry);
}

bool PublishScheduler::goes_in_batch(const Queue& queue) const {
  if (!batches_allowed_ || probing_ || queue.blocked || queue.size < shortest_run) return false;
  const auto* entry = queue.first;
  for (std::uint32_t run = 0; run < shortest_run; ++run, entry = entry->next)
    if (!may_be_batched(*entry)) return false;
  return true;
}

void PublishScheduler::dissolve_runs() {
  for (auto* queue : runs_) make_ready(*queue->first);
  runs_.clear();
}

std::optional<OutboxEvent> PublishScheduler::stored(std::uint64_t token) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return std::nullopt;
  auto& queue = *entry->queue;
  const auto sent_at = entry->sent_at;
  land(*entry);
  auto event = queues_.remove_first(queue);
  probing_ = false;
  advance(queue, event);
  if (!suspects_.empty())
    for (auto* const released : suspects_.release(event, sent_at)) make_ready(*released);
  return event;
}

std::optional<OutboxEvent> PublishScheduler::refused(std::uint64_t token, Timestamp at,
                                                     const RetryAt& retry_at) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return std::nullopt;
  auto& queue = *entry->queue;
  land(*entry);
  auto event = queues_.remove_first(queue);
  ++event.retry_count;
  event.updated_at = at;
  probing_ = false;
  if (const auto time = retry_at(event)) {
    // What waits behind it stays in the table, so that blocked aggregates cost little memory.
    leave_all_in_table(queue);
    block(queue, event, *time, {});
  } else {
    advance(queue, event);
  }
  return event;
}

void PublishScheduler::returned(std::uint64_t token) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return;
  land(*entry);
  entry->alone = true;
  if (entry->queue->first == entry) make_ready(*entry);
}

void PublishScheduler::suspected(std::uint64_t token) {
  auto* const entry = queues_.in_flight(token);
  if (entry == nullptr) return;
  land(*entry);
  entry->alone = true;
  probing_ = true;
  dissolve_runs();  // they may have events of its subject
  suspects_.add(*entry, sends_);
}

void PublishScheduler::land(Entry& entry) {
  if (entry.on_trial) suspects_.end_trial(entry);
  entry.sent = entry.in_batch = false;
  --in_flight_;
}

std::optional<Timestamp> PublishScheduler::next_retry(Timestamp after) const {
  const auto next = retries_.upper_bound(after);
  if (next == retries_.end()) return std::nullopt;
  return next->first;
}

void PublishScheduler::take(Queue& queue, OutboxEvent&& event) {
  auto& entry = queues_.push(queue, std::move(event));
  if (queue.size == 1) make_ready(entry);
}

void PublishScheduler::leave_all_in_table(Queue& queue) {
  while (queue.first != nullptr) {
    queues_.remove_first(queue);
    leave_in_table(queue);
  }
}

void PublishScheduler::advance(Queue& queue, const OutboxEvent& settled) {
  const bool goes_on = queue.size > 0 || queue.blocked || queue.refilling || queue.has_rows_behind();
  if (goes_on) AggregateQueues::remember_ties(queue, settled);
  advance(queue);
}

/// The aggregate's next step when none of its events is in flight.
void PublishScheduler::advance(Queue& queue) {
  if (queue.size > 0) {
    if (!queue.first->sent) make_ready(*queue.first);
  } else if (queue.blocked || queue.refilling) {
    // It goes on when its retry is due, or when its rows are read.
  } else if (queue.has_rows_behind()) {
    queue.refilling = true;
    refills_.push_back(&queue);
  } else {
    queues_.erase(queue);
  }
}

}  // namespace tidings
