#include "consumer/key_order.hpp"

#include <algorithm>
#include <iterator>

namespace tidings {
namespace {

using std::chrono::milliseconds;

// The retry goes first: those behind it come back this much later.
constexpr milliseconds behind{50};
// That delay is doubled each time the one ahead was late: 3.2 s at most.
constexpr int most_doublings = 6;
// How long past its due time a retry holds back later events when another instance may have received it.
constexpr milliseconds grace{500};

}  // namespace

std::string order_key(const Event& event) {
  return event.partition_key.empty() ? std::string{} : event.aggregate_type + '\n' + event.partition_key;
}

void KeyOrder::arrived(bool after_gap, Clock::time_point at) {
  if (after_gap) ++gaps_;
  last_arrival_ = std::max(last_arrival_, at);
  ++round_;
}

bool KeyOrder::holds(const Delivery& delivery) {
  if (out_.empty()) return false;
  const auto found = out_.find(order_key(delivery.event));
  if (found == out_.end()) return false;
  auto& events = found->second;
  while (!events.empty() && events.begin()->first < delivery.stream_sequence) {
    if (!is_over(events.begin()->second)) return true;
    events.erase(events.begin());
  }
  if (events.empty()) out_.erase(found);
  return false;
}

bool KeyOrder::is_over(const Out& out) const {
  const bool others_had_some = out.gaps != gaps_;
  if (others_had_some && !out.retry) return true;
  return last_arrival_ >= out.due + (others_had_some ? grace : longest_);
}

void KeyOrder::forget_all() { out_.clear(); }

void KeyOrder::settled(const Delivery& delivery, Settlement& settlement, Clock::time_point now) {
  if (!wanted_) return;
  if (settlement.kind == Settlement::Kind::held_back)
    settlement.delay = hold_behind(delivery, now);
  else if (goes_back(settlement))
    put(delivery, {.due = now + settlement.delay, .retry = true});
  else
    release(delivery);
}

milliseconds KeyOrder::hold_behind(const Delivery& delivery, Clock::time_point now) {
  Out out;
  auto due = now;
  if (const auto found = out_.find(order_key(delivery.event)); found != out_.end()) {
    const auto& events = found->second;
    const auto own = events.lower_bound(delivery.stream_sequence);
    if (own != events.end() && own->first == delivery.stream_sequence)
      out.times_late = own->second.times_late;
    if (own != events.begin()) {
      for (const auto* ahead : {&events.begin()->second, &std::prev(own)->second}) {
        due = std::max(due, ahead->due + (ahead->retry ? behind : milliseconds{0}));
        // The delay starts when the server reads the NAK, so an equal delay keeps this behind the one ahead.
        if (ahead->round == round_) out.delay = std::max(out.delay, ahead->delay);
      }
    }
  }
  if (due <= now)
    due = now + behind * (1 << std::min(out.times_late++, most_doublings));
  else
    out.times_late = 0;
  out.delay = std::max(out.delay, std::chrono::ceil<milliseconds>(due - now));
  out.due = now + out.delay;
  put(delivery, out);
  return out.delay;
}

void KeyOrder::put(const Delivery& delivery, const Out& out) {
  const auto key = order_key(delivery.event);
  if (key.empty()) return;
  auto& kept = out_[key][delivery.stream_sequence];
  kept = out;
  kept.gaps = gaps_;
  kept.round = round_;
  if (out_.size() > keys_to_look_through_) forget_old();
}

void KeyOrder::release(const Delivery& delivery) {
  if (out_.empty()) return;
  const auto found = out_.find(order_key(delivery.event));
  if (found == out_.end()) return;
  found->second.erase(delivery.stream_sequence);
  if (found->second.empty()) out_.erase(found);
}

/// Drops all holds that are over; holds() does so only for keys that still receive events.
void KeyOrder::forget_old() {
  for (auto entry = out_.begin(); entry != out_.end();) {
    std::erase_if(entry->second, [this](const auto& event) { return is_over(event.second); });
    entry = entry->second.empty() ? out_.erase(entry) : std::next(entry);
  }
  keys_to_look_through_ = std::max<std::size_t>(1000, 2 * out_.size());
}

}  // namespace tidings
