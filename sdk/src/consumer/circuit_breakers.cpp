#include "consumer/circuit_breakers.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace tidings {
namespace {

using std::chrono::milliseconds;
using Kind = Settlement::Kind;

// How long others wait while a probe runs, at most.
constexpr milliseconds longest_probe_wait{1000};

// More than max_ack_pending allows by default. Events that are forgotten run isolated when they come again.
constexpr std::size_t most_turned_away = 50000;

Settlement paused(milliseconds delay) {
  return {.kind = Kind::paused, .delay = std::max(delay, milliseconds{1})};
}

}  // namespace

std::optional<Settlement> CircuitBreakers::pause(const Delivery& delivery, const Handlers::Entry& entry,
                                                 Clock::time_point now) {
  for (const auto* handler : {static_cast<const Handlers::Entry*>(nullptr), &entry}) {
    const auto found = open_.find(handler);
    if (found == open_.end()) continue;
    auto& breaker = found->second;
    if (breaker.probe == delivery.stream_sequence) continue;
    if (now < breaker.until) return paused(std::chrono::ceil<milliseconds>(breaker.until - now));
    if (breaker.probe) return paused(std::min(breaker.pause, longest_probe_wait));
    breaker.probe = delivery.stream_sequence;
  }
  return std::nullopt;
}

void CircuitBreakers::note_turned_away(const Delivery& delivery, const Settlement& settlement) {
  const auto kind = settlement.kind;
  const bool goes_back = kind == Kind::paused || kind == Kind::unavailable || kind == Kind::held_back;
  if (!goes_back || (delivery.delivered > 1 && !never_started(delivery))) {
    turned_away_.erase(delivery.stream_sequence);
    return;
  }
  if (turned_away_.size() >= most_turned_away) turned_away_.clear();
  turned_away_[delivery.stream_sequence] = delivery.delivered;
}

void CircuitBreakers::update(const Delivery& delivery, const Settlement& settlement, Clock::time_point now) {
  note_turned_away(delivery, settlement);
  const bool handler_has_run = settlement.took.count() > 0;
  for (auto entry = open_.begin(); entry != open_.end();) {
    auto& probe = entry->second.probe;
    const bool was_probe = probe == delivery.stream_sequence;
    if (was_probe) probe.reset();
    entry = was_probe && handler_has_run ? open_.erase(entry) : std::next(entry);
  }
  if (settlement.kind != Kind::unavailable) return;
  auto& breaker = open_[settlement.pauses_consumer ? nullptr : handlers_.find(delivery.event.type)];
  breaker.reason = settlement.reason;
  breaker.pause = settlement.delay;
  breaker.until = std::max(breaker.until, now + settlement.delay);
}

void CircuitBreakers::forget_old(Clock::time_point now) {
  std::erase_if(open_, [now](const auto& entry) {
    const auto& breaker = entry.second;
    return !breaker.probe && now > breaker.until + breaker.pause;
  });
}

bool CircuitBreakers::within_pause(Clock::time_point now) const {
  return std::any_of(open_.begin(), open_.end(),
                     [now](const auto& entry) { return now < entry.second.until; });
}

bool CircuitBreakers::consumer_within_pause(Clock::time_point now) const {
  const auto found = open_.find(nullptr);
  return found != open_.end() && now < found->second.until;
}

std::string CircuitBreakers::reason() const {
  std::string text;
  for (const auto& [handler, breaker] : open_)
    text += (text.empty() ? "" : "; ") + (handler == nullptr ? "handlers" : handler->type) + ": " +
            breaker.reason;
  return text;
}

}  // namespace tidings
