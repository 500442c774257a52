#include "consumer/held_keys.hpp"

#include <algorithm>
#include <iterator>

namespace tidings {
namespace {

using std::chrono::milliseconds;

// The retry goes first: those behind it come back this much later.
constexpr milliseconds behind{50};
// Doubled for each time that the one ahead was late: 3.2 s at most.
constexpr int most_doublings = 6;
// Of a retry that may have gone to another instance.
constexpr milliseconds grace{500};

}  // namespace

void HeldKeys::arrived(std::uint64_t consumer_sequence, Clock::time_point at) {
  if (consumer_sequence != last_sequence_ + 1) ++gaps_;
  last_sequence_ = consumer_sequence;
  last_arrival_ = std::max(last_arrival_, at);
  ++round_;
}

bool HeldKeys::holds(std::string_view key, std::uint64_t sequence) {
  if (out_.empty()) return false;
  const auto found = out_.find(key);
  if (found == out_.end()) return false;
  auto& events = found->second;
  while (!events.empty() && events.begin()->first < sequence) {
    if (!is_over(events.begin()->second)) return true;
    events.erase(events.begin());
  }
  if (events.empty()) out_.erase(found);
  return false;
}

bool HeldKeys::is_over(const Out& out) const {
  const bool others_had_some = out.gaps != gaps_;
  if (others_had_some && !out.retry) return true;
  return last_arrival_ >= out.due + (others_had_some ? grace : longest_);
}

void HeldKeys::hold(const std::string& key, std::uint64_t sequence, Clock::time_point until) {
  put(key, sequence, {.due = until, .retry = true});
}

milliseconds HeldKeys::hold_behind(const std::string& key, std::uint64_t sequence, Clock::time_point now) {
  Out out;
  auto due = now;
  if (const auto found = out_.find(key); found != out_.end()) {
    const auto& events = found->second;
    const auto own = events.lower_bound(sequence);
    if (own != events.end() && own->first == sequence) out.times_late = own->second.times_late;
    if (own != events.begin()) {
      for (const auto* ahead : {&events.begin()->second, &std::prev(own)->second}) {
        due = std::max(due, ahead->due + (ahead->retry ? behind : milliseconds{0}));
        // The server counts from when it reads this: with the same delay, it stays behind the one ahead.
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
  put(key, sequence, out);
  return out.delay;
}

void HeldKeys::put(const std::string& key, std::uint64_t sequence, const Out& out) {
  if (key.empty()) return;
  auto& kept = out_[key][sequence];
  kept = out;
  kept.gaps = gaps_;
  kept.round = round_;
  if (out_.size() > keys_to_look_through_) forget_old();
}

void HeldKeys::release(std::string_view key, std::uint64_t sequence) {
  if (out_.empty()) return;
  const auto found = out_.find(key);
  if (found == out_.end()) return;
  found->second.erase(sequence);
  if (found->second.empty()) out_.erase(found);
}

/// Of keys that nothing comes for any more.
void HeldKeys::forget_old() {
  for (auto entry = out_.begin(); entry != out_.end();) {
    std::erase_if(entry->second, [this](const auto& event) { return is_over(event.second); });
    entry = entry->second.empty() ? out_.erase(entry) : std::next(entry);
  }
  keys_to_look_through_ = std::max<std::size_t>(1000, 2 * out_.size());
}

}  // namespace tidings
