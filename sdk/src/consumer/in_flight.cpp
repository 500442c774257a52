#include "consumer/in_flight.hpp"

#include "nats/message_headers.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

constexpr std::size_t least_overhead = 512;  // roughly

// Someone may have set an AckWait of next to nothing.
constexpr std::chrono::milliseconds shortest_interval{5};

/// Twice: the event that was read from it has its texts as well.
std::size_t size(natsMsg* message) {
  const auto bytes = static_cast<std::size_t>(natsMsg_GetDataLength(message)) + header_bytes(message);
  return std::max(2 * bytes, least_overhead);
}

}  // namespace

InFlight::InFlight(natsConnection* connection, std::chrono::milliseconds ack_wait,
                   std::atomic<std::uint64_t>& count, MayExtend may_extend)
    : connection_(connection),
      may_extend_(std::move(may_extend)),
      count_(&count),
      ack_wait_(ack_wait),
      extender_([this](const std::stop_token& stop) { extend_all(stop); }) {}

InFlight::Slot InFlight::add(natsMsg* message, const AckSubject& delivery) {
  const std::lock_guard lock{mutex_};
  if (delivery.delivered == 1)
    disown_when_stream_is_new(delivery);
  else
    notice_lapse(delivery.stream_sequence);
  const auto bytes = size(message);
  bytes_ += bytes;
  if (count_ != nullptr) ++*count_;
  if (free_.empty()) {
    free_.push_back(entries_.size());
    entries_.emplace_back();
  }
  const auto slot = free_.back();
  free_.pop_back();
  entries_[slot] = {.message = message, .stream_sequence = delivery.stream_sequence, .bytes = bytes};
  return slot;
}

bool InFlight::remove(Slot slot) {
  const std::lock_guard lock{mutex_};
  const bool owned = entries_[slot].state != Entry::State::disowned;
  if (entries_[slot].state == Entry::State::lapsed) --lapsed_;
  bytes_ -= entries_[slot].bytes;
  if (count_ != nullptr) --*count_;
  entries_[slot] = {};
  free_.push_back(slot);
  return owned;
}

/// Asked for each message: there are hardly ever any.
bool InFlight::lapsed(Slot slot) const {
  if (lapsed_ == 0) return false;
  const std::lock_guard lock{mutex_};
  return entries_[slot].state == Entry::State::lapsed;
}

void InFlight::use(std::chrono::milliseconds ack_wait) {
  const std::lock_guard lock{mutex_};
  if (ack_wait == ack_wait_) return;
  ack_wait_ = ack_wait;
  extend_now_ = true;
  ack_wait_changed_.notify_all();
}

/// Counts a message that comes again while it is here. That is rare, so looking at all of them is cheap
/// enough.
void InFlight::notice_lapse(std::uint64_t stream_sequence) {
  const bool here = std::ranges::any_of(entries_, [stream_sequence](const Entry& entry) {
    return entry.message != nullptr && entry.state == Entry::State::ours &&
           entry.stream_sequence == stream_sequence;
  });
  if (here) ++lapses_;
}

void InFlight::disown() {
  const std::lock_guard lock{mutex_};
  turn_all(Entry::State::disowned);
}

/// On one stream, a message with a smaller sequence was stored earlier.
void InFlight::disown_when_stream_is_new(const AckSubject& delivery) {
  const bool later = delivery.stored_at_ns > last_stored_at_;
  if (delivery.stream_sequence <= last_sequence_ && later) {
    turn_all(Entry::State::disowned);
  } else if (delivery.stream_sequence < last_sequence_) {
    return;  // handed out late, or again by a leader that had not heard of the first delivery
  }
  last_sequence_ = delivery.stream_sequence;
  last_stored_at_ = delivery.stored_at_ns;
}

void InFlight::turn_all(Entry::State state) {
  std::size_t lapsed = 0;
  for (auto& entry : entries_) {
    if (entry.message == nullptr) continue;
    if (entry.state != Entry::State::disowned) entry.state = state;
    if (entry.state == Entry::State::lapsed) ++lapsed;
  }
  lapsed_ = lapsed;
}

std::size_t InFlight::bytes() const {
  const std::lock_guard lock{mutex_};
  return bytes_;
}

void InFlight::extend_all(const std::stop_token& stop) {
  std::unique_lock lock{mutex_};
  auto extended = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    ack_wait_changed_.wait_for(lock, stop, std::max(ack_wait_ / 3, shortest_interval),
                               [this] { return extend_now_; });
    extend_now_ = false;
    if (stop.stop_requested()) break;
    const auto now = std::chrono::steady_clock::now();
    if (!may_extend_()) {
      if (now - extended >= ack_wait_ && !never_lapses_) turn_all(Entry::State::lapsed);
      continue;
    }
    extended = now;
    for (const auto& entry : entries_)
      if (entry.message != nullptr && entry.state == Entry::State::ours)
        send(connection_, entry.message, {Acknowledgement::Kind::in_progress});
  }
  nats_ReleaseThreadMemory();
}

void InFlight::stop() {
  extender_.request_stop();
  if (extender_.joinable()) extender_.join();
  const std::lock_guard lock{mutex_};
  if (auto* const count = std::exchange(count_, nullptr)) *count -= entries_.size() - free_.size();
}

}  // namespace tidings
