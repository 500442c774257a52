#include "services/lane_scheduler.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace tidings {
namespace {

// Unchained, a hot aggregate must not fill the window with events that wait.
constexpr std::size_t most_waiting_in_a_lane = 64;

// A chain that breaks again soon (another publisher on the stream) is tried less and less often.
constexpr std::uint64_t shortest_unchained = 256;
constexpr std::uint64_t longest_unchained = 65536;

}  // namespace

std::size_t LaneScheduler::KeyHash::operator()(const Key& key) const noexcept {
  const std::hash<std::string> hash;
  return hash(key.aggregate_id) * 31 + hash(key.aggregate_type);
}

LaneScheduler::LaneScheduler(std::size_t window) : window_(window), unchained_for_(shortest_unchained) {}

std::size_t LaneScheduler::room() const noexcept {
  return entries_.size() < window_ ? window_ - entries_.size() : 0;
}

void LaneScheduler::offer(OutboxEvent event) {
  Key key{event.aggregate_id, event.aggregate_type};
  auto& lane = lanes_[key];
  const bool full = !chained_ && lane.queue.size() >= most_waiting_in_a_lane;
  if (lane.retry_at || lane.left_behind > 0 || lane.refilling || full) return leave_in_table(lane);
  take(lane, key, std::move(event));
}

void LaneScheduler::block(const OutboxEvent& head, Timestamp retry_at) {
  const Key key{head.aggregate_id, head.aggregate_type};
  auto& lane = lanes_[key];
  if (lane.retry_at) return leave_in_table(lane);  // behind an earlier one
  if (lane.queue.empty()) lane.last_position = head.position - 1;
  lane.head_retries = head.retry_count;
  lane.retry_at = retry_at;
  retries_.emplace(retry_at, key);
}

std::optional<LaneScheduler::Refill> LaneScheduler::next_refill(Timestamp now) {
  const auto refill_of = [this](const Key& key, bool retry) {
    auto& lane = lanes_.at(key);
    lane.refilling = true;
    return Refill{key.aggregate_id, key.aggregate_type, lane.last_position, retry};
  };
  for (auto due = retries_.begin(); due != retries_.end() && due->first <= now; ++due) {
    const auto key = due->second;
    if (!lanes_.at(key).queue.empty()) continue;  // what went before it is still in flight
    retries_.erase(due);
    lanes_.at(key).retry_at.reset();
    return refill_of(key, true);
  }
  if (refills_.empty()) return std::nullopt;
  const auto key = std::move(refills_.front());
  refills_.pop_front();
  return refill_of(key, false);
}

void LaneScheduler::refill(const Refill& request, std::vector<OutboxEvent> rows, bool complete) {
  const Key key{request.aggregate_id, request.aggregate_type};
  auto& lane = lanes_.at(key);
  lane.refilling = false;
  const auto counted = static_cast<std::int64_t>(rows.size()) - (request.retry ? 1 : 0);
  const auto left = complete ? 0 : std::max<std::int64_t>(1, lane.left_behind - counted);
  // The head of a retry was not counted as left behind; whether rows follow it, its own refill tells.
  const auto now_left = request.retry ? lane.left_behind : left;
  left_behind_ += now_left - lane.left_behind;
  lane.left_behind = now_left;
  if (request.retry && !rows.empty())
    rows.front().retry_count = std::max(rows.front().retry_count, lane.head_retries);
  for (auto& row : rows) take(lane, key, std::move(row));
  if (lane.queue.empty()) advance(key);
}

std::optional<LaneScheduler::Send> LaneScheduler::next_send() {
  if (settling_ || ready_.empty() || (probing_ && in_flight_ > 0)) return std::nullopt;
  const auto token = ready_.front();
  ready_.pop_front();
  auto& entry = entries_.at(token);
  entry.sent = true;
  ++in_flight_;
  Send send{token, &entry.event, chained_ ? last_sent_ : std::string{}};
  last_sent_ = entry.event.id;
  return send;
}

std::optional<OutboxEvent> LaneScheduler::stored(std::uint64_t token) {
  const auto entry = entries_.find(token);
  if (entry == entries_.end() || !entry->second.sent) return std::nullopt;
  const auto key = entry->second.key;
  auto event = remove(entry);
  --in_flight_;
  ++stored_in_this_state_;
  probing_ = false;
  advance(key);
  try_chain_again();
  landed();
  return event;
}

std::optional<OutboxEvent> LaneScheduler::take_refused(std::uint64_t token) {
  const auto entry = entries_.find(token);
  if (entry == entries_.end() || !entry->second.sent) return std::nullopt;
  const auto& lane = lanes_.at(entry->second.key);
  // An earlier event of its aggregate is not stored: this one was not to go yet.
  if (lane.retry_at || lane.queue.front() != token) {
    returned(token);
    return std::nullopt;
  }
  auto event = remove(entry);
  --in_flight_;
  ++event.retry_count;
  probing_ = false;
  if (chained_) break_chain();
  return event;
}

void LaneScheduler::settle_refused(const OutboxEvent& event, std::optional<Timestamp> retry_at) {
  const Key key{event.aggregate_id, event.aggregate_type};
  auto& lane = lanes_.at(key);
  if (retry_at) {
    // What waits behind it stays in the table, so that blocked aggregates cost little memory.
    // Those in flight follow when they have landed.
    const auto waiting = lane.queue;
    for (const auto token : waiting) {
      const auto entry = entries_.find(token);
      if (entry->second.sent) continue;
      remove(entry);
      leave_in_table(lane);
    }
    lane.last_position = event.position - 1;
    lane.head_retries = event.retry_count;
    lane.retry_at = retry_at;
    retries_.emplace(*retry_at, key);
    std::erase_if(ready_, [this](std::uint64_t token) { return !entries_.contains(token); });
  } else {
    advance(key);
  }
  landed();
}

void LaneScheduler::returned(std::uint64_t token) {
  const auto entry = entries_.find(token);
  if (entry == entries_.end() || !entry->second.sent) return;
  entry->second.sent = false;
  --in_flight_;
  auto& lane = lanes_.at(entry->second.key);
  if (lane.retry_at) {
    remove(entry);
    leave_in_table(lane);
  } else if (!chained_ && !settling_) {
    ready_.push_front(token);
  }
  if (chained_) break_chain();
  landed();
}

std::optional<Timestamp> LaneScheduler::next_retry() const {
  if (retries_.empty()) return std::nullopt;
  return retries_.begin()->first;
}

void LaneScheduler::forget_left_behind() {
  for (auto& [key, lane] : lanes_) lane.left_behind = 0;
  left_behind_ = 0;
}

void LaneScheduler::take(Lane& lane, const Key& key, OutboxEvent event) {
  const auto token = next_token_++;
  lane.last_position = event.position;
  lane.queue.push_back(token);
  entries_.emplace(token, Entry{std::move(event), key});
  if (settling_) return;  // made ready when that is over
  if (chained_ || lane.queue.size() == 1) ready_.push_back(token);
}

OutboxEvent LaneScheduler::remove(std::map<std::uint64_t, Entry>::iterator entry) {
  auto& queue = lanes_.at(entry->second.key).queue;
  queue.erase(std::find(queue.begin(), queue.end(), entry->first));
  auto event = std::move(entry->second.event);
  entries_.erase(entry);
  return event;
}

void LaneScheduler::leave_in_table(Lane& lane) {
  ++lane.left_behind;
  ++left_behind_;
}

/// The lane's next step after one of its events is settled.
void LaneScheduler::advance(const Key& key) {
  const auto found = lanes_.find(key);
  auto& lane = found->second;
  if (!lane.queue.empty()) {
    const auto next = lane.queue.front();
    if (!chained_ && !settling_ && !entries_.at(next).sent) ready_.push_back(next);
  } else if (lane.retry_at || lane.refilling) {
    // Its time will come.
  } else if (lane.left_behind > 0) {
    lane.refilling = true;
    refills_.push_back(key);
  } else {
    lanes_.erase(found);
  }
}

/// Nothing that was sent may be overtaken by what is sent next: wait until all has landed.
void LaneScheduler::break_chain() {
  const bool held_long = stored_in_this_state_ >= 8 * unchained_for_;
  unchained_for_ = held_long ? shortest_unchained : std::min(2 * unchained_for_, longest_unchained);
  stored_in_this_state_ = 0;
  chained_ = false;
  settling_ = true;
}

void LaneScheduler::try_chain_again() {
  if (chained_ || settling_ || stored_in_this_state_ < unchained_for_) return;
  // The chain begins when no unchained event is in flight, or one could be overtaken.
  stored_in_this_state_ = 0;
  chained_ = true;
  settling_ = true;
}

void LaneScheduler::landed() {
  if (!settling_ || in_flight_ > 0) return;
  settling_ = false;
  last_sent_.clear();
  make_ready();
}

void LaneScheduler::make_ready() {
  ready_.clear();
  for (const auto& [token, entry] : entries_)
    if (chained_ || lanes_.at(entry.key).queue.front() == token) ready_.push_back(token);
}

}  // namespace tidings
