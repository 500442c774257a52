#include "services/publish_scheduler.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace tidings {
namespace {

// Where aggregates pass each other, a hot one must not fill the window with events that wait.
constexpr std::uint32_t most_waiting_in_a_lane = 64;

// An order that breaks again soon (another publisher on the stream) is tried less and less often.
constexpr std::uint64_t shortest_passing = 256;
constexpr std::uint64_t longest_passing = 65536;

// A token is the event's number above its slot, so that one that comes late finds its slot taken over.
constexpr unsigned slot_bits = 20;
constexpr std::uint64_t slot_mask = (std::uint64_t{1} << slot_bits) - 1;

}  // namespace

std::size_t PublishScheduler::KeyHash::operator()(const KeyView& key) const noexcept {
  const std::hash<std::string_view> hash;
  return hash(key.aggregate_id) * 31 + hash(key.aggregate_type);
}

PublishScheduler::PublishScheduler(std::size_t window) : window_(window), passing_for_(shortest_passing) {}

std::size_t PublishScheduler::room() const noexcept { return held_ < window_ ? window_ - held_ : 0; }

void PublishScheduler::offer(OutboxEvent event) {
  auto& lane = lane_of(event);
  const bool full = !in_order_ && lane.size >= most_waiting_in_a_lane;
  if (lane.retry_at || lane.left_behind > 0 || lane.refilling || full) return leave_in_table(lane);
  take(lane, std::move(event));
}

void PublishScheduler::block(const OutboxEvent& head, Timestamp retry_at) {
  auto& lane = lane_of(head);
  if (lane.retry_at) return leave_in_table(lane);  // behind an earlier one
  lane.head_position = head.position;
  lane.head_retries = head.retry_count;
  lane.retry_at = retry_at;
  retries_.emplace(retry_at, &lane);
}

std::optional<PublishScheduler::Refill> PublishScheduler::next_refill(Timestamp now) {
  const auto refill_of = [](Lane& lane, bool retry) {
    lane.refilling = true;
    if (retry) lane.last_position = lane.head_position;
    return Refill{lane.key->aggregate_id, lane.key->aggregate_type, lane.last_position, retry};
  };
  for (auto due = retries_.begin(); due != retries_.end() && due->first <= now; ++due) {
    auto& lane = *due->second;
    if (lane.size > 0) continue;  // what went before it is still in flight
    retries_.erase(due);
    lane.retry_at.reset();
    return refill_of(lane, true);
  }
  if (refills_.empty()) return std::nullopt;
  auto& lane = *refills_.front();
  refills_.pop_front();
  return refill_of(lane, false);
}

void PublishScheduler::refill(const Refill& request, std::vector<OutboxEvent> rows, bool complete) {
  auto& lane = lanes_.find(KeyView{request.aggregate_id, request.aggregate_type})->second;
  lane.refilling = false;
  if (!request.retry) {  // a retry's head was not counted as left behind, and nothing past it was read
    const auto taken = static_cast<std::int64_t>(rows.size());
    const auto left = complete ? 0 : std::max<std::int64_t>(1, lane.left_behind - taken);
    left_behind_ += left - lane.left_behind;
    lane.left_behind = left;
  } else if (!rows.empty()) {
    rows.front().retry_count = std::max(rows.front().retry_count, lane.head_retries);
  }
  // These come after what is in memory, whatever their place: in order they would keep all behind them
  // waiting.
  if (in_order_ && !chain_allowed_ && !rows.empty()) break_order();
  for (auto& row : rows) take(lane, std::move(row));
  if (lane.size == 0) advance(lane);
  landed();
}

std::optional<PublishScheduler::Send> PublishScheduler::next_send() {
  if (settling_ || head_in_flight_ || ready_.empty() || (probing_ && in_flight_ > 0)) return std::nullopt;
  const auto slot = ready_.front();
  auto& entry = entries_[slot];
  if (!chained() && entry.lane->first != slot) return std::nullopt;
  ready_.pop_front();
  entry.sent = true;
  ++in_flight_;
  Send send{token_of(slot), &entry.event, chained() ? last_sent_ : std::string{}};
  head_in_flight_ = chained() && last_sent_.empty();
  last_sent_ = entry.event.id;
  return send;
}

std::optional<OutboxEvent> PublishScheduler::stored(std::uint64_t token, bool duplicate) {
  const auto slot = in_flight_slot(token);
  if (slot == none) return std::nullopt;
  const bool head = std::exchange(head_in_flight_, false);
  auto& lane = *entries_[slot].lane;
  auto event = remove(slot);
  --in_flight_;
  ++stored_in_this_state_;
  probing_ = false;
  advance(lane);
  if (head && duplicate)
    break_order();
  else
    try_order_again();
  landed();
  return event;
}

std::optional<OutboxEvent> PublishScheduler::take_refused(std::uint64_t token) {
  const auto slot = in_flight_slot(token);
  if (slot == none) return std::nullopt;
  const auto& lane = *entries_[slot].lane;
  // An earlier event of its aggregate is not stored: this one was not to go yet.
  if (lane.retry_at || lane.first != slot) {
    returned(token);
    return std::nullopt;
  }
  auto event = remove(slot);
  --in_flight_;
  ++event.retry_count;
  probing_ = false;
  if (in_order_) break_order();
  return event;
}

void PublishScheduler::settle_refused(const OutboxEvent& event, std::optional<Timestamp> retry_at) {
  auto& lane = lane_of(event);
  if (retry_at) {
    // What waits behind it stays in the table, so that blocked aggregates cost little memory.
    // Those in flight follow when they have landed.
    drop_unsent(lane);
    lane.head_position = event.position;
    lane.head_retries = event.retry_count;
    lane.retry_at = retry_at;
    retries_.emplace(*retry_at, &lane);
  } else {
    advance(lane);
  }
  landed();
}

void PublishScheduler::returned(std::uint64_t token) {
  const auto slot = in_flight_slot(token);
  if (slot == none) return;
  auto& entry = entries_[slot];
  auto& lane = *entry.lane;
  entry.sent = false;
  --in_flight_;
  if (lane.retry_at) {
    remove(slot);
    leave_in_table(lane);
  } else if (!in_order_ && !settling_) {
    ready_.push_front(slot);
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

void PublishScheduler::forget_left_behind() {
  for (auto& [key, lane] : lanes_) lane.left_behind = 0;
  left_behind_ = 0;
}

std::uint64_t PublishScheduler::token_of(Slot slot) const noexcept {
  return (entries_[slot].number << slot_bits) | slot;
}

/// The slot of an event that is in flight under this token; none for any other.
PublishScheduler::Slot PublishScheduler::in_flight_slot(std::uint64_t token) const noexcept {
  const auto slot = static_cast<Slot>(token & slot_mask);
  if (slot >= entries_.size() || token_of(slot) != token || !entries_[slot].sent) return none;
  return slot;
}

PublishScheduler::Lane& PublishScheduler::lane_of(const OutboxEvent& event) {
  const KeyView view{event.aggregate_id, event.aggregate_type};
  auto found = lanes_.find(view);
  if (found == lanes_.end()) {
    found = lanes_.emplace(Key{event.aggregate_id, event.aggregate_type}, Lane{}).first;
    found->second.key = &found->first;
  }
  return found->second;
}

void PublishScheduler::take(Lane& lane, OutboxEvent event) {
  if (free_.empty()) {
    free_.push_back(static_cast<Slot>(entries_.size()));
    entries_.emplace_back();
  }
  const auto slot = free_.back();
  free_.pop_back();
  ++held_;
  lane.last_position = event.position;
  entries_[slot] = {std::move(event), &lane, next_number_++, none, false};
  (lane.size == 0 ? lane.first : entries_[lane.last].next) = slot;
  lane.last = slot;
  ++lane.size;
  if (settling_) return;  // made ready when that is over
  if (in_order_ || lane.size == 1) ready_.push_back(slot);
}

OutboxEvent PublishScheduler::remove(Slot slot) {
  auto& lane = *entries_[slot].lane;
  Slot before = none;
  for (auto at = lane.first; at != slot; at = entries_[at].next) before = at;
  const auto next = entries_[slot].next;
  (before == none ? lane.first : entries_[before].next) = next;
  if (lane.last == slot) lane.last = before;
  --lane.size;
  --held_;
  entries_[slot].number = 0;
  entries_[slot].sent = false;
  free_.push_back(slot);
  return std::move(entries_[slot].event);
}

void PublishScheduler::leave_in_table(Lane& lane) {
  ++lane.left_behind;
  ++left_behind_;
}

void PublishScheduler::drop_unsent(Lane& lane) {
  std::erase_if(ready_, [this, &lane](Slot slot) { return entries_[slot].lane == &lane; });
  for (auto slot = lane.first; slot != none;) {
    const auto next = entries_[slot].next;
    if (!entries_[slot].sent) {
      remove(slot);
      leave_in_table(lane);
    }
    slot = next;
  }
}

/// The lane's next step after one of its events is settled.
void PublishScheduler::advance(Lane& lane) {
  if (lane.size > 0) {
    if (!in_order_ && !settling_ && !entries_[lane.first].sent) ready_.push_back(lane.first);
  } else if (lane.retry_at || lane.refilling) {
    // Its time will come.
  } else if (lane.left_behind > 0) {
    lane.refilling = true;
    refills_.push_back(&lane);
  } else {
    lanes_.erase(lanes_.find(KeyView{*lane.key}));
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
  // Rows that were left behind come in aggregate by aggregate, and would wait for each other one by one.
  if (!chain_allowed_ && left_behind_ > 0) return;
  // A chain begins when no unchained event is in flight, or one could be overtaken.
  stored_in_this_state_ = 0;
  in_order_ = true;
  settling_ = true;
}

void PublishScheduler::landed() {
  if (!settling_ || in_flight_ > 0) return;
  settling_ = false;
  last_sent_.clear();
  make_ready();
}

void PublishScheduler::make_ready() {
  ready_.clear();
  for (Slot slot = 0; slot < entries_.size(); ++slot) {
    const auto& entry = entries_[slot];
    if (entry.number != 0 && (in_order_ || entry.lane->first == slot)) ready_.push_back(slot);
  }
  std::sort(ready_.begin(), ready_.end(),
            [this](Slot left, Slot right) { return entries_[left].number < entries_[right].number; });
}

}  // namespace tidings
