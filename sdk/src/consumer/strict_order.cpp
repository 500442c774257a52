#include "consumer/strict_order.hpp"

#include "consumer/inbox_guard.hpp"
#include "consumer/poison_detection.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

namespace tidings {
namespace {

using std::chrono::milliseconds;

// For the group's state, while the gate is closed: soon, as after a hand-over, and then less often.
constexpr milliseconds ask_soon{5}, soon_for{250}, ask_later{50};
constexpr auto all = std::numeric_limits<std::size_t>::max();

}  // namespace

StrictOrder::StrictOrder(ConsumerContext& context, Puller& puller, KeyOrder& key_order, OutageWait& outage)
    : context_(context), puller_(puller), key_order_(key_order), outage_(outage) {
  puller_.on_settled([this](std::uint64_t sequence) { gate_.left(sequence); });
  puller_.ask_for_missing(0);
}

std::vector<StreamMessagePtr> StrictOrder::take(std::size_t max, milliseconds wait,
                                                const std::stop_token& stop) {
  puller_.behind_their_keys(queue_.size());
  context_.meters.group.held_keys = queue_.held_keys(Clock::now());
  for (auto& message : puller_.take(all, longest_wait(max, wait), stop)) add(std::move(message));
  look_at_gate();
  const auto now = Clock::now();
  if (stop.stop_requested()) return {};
  auto taken = std::exchange(passing_, {});
  if (gate_.open()) {
    auto ready = in_order(queue_.take(max, now));
    more_ready_ = ready.size() == max;
    std::ranges::move(ready, std::back_inserter(taken));
  }
  return taken;
}

/// What may be handled now does not wait for more to come.
milliseconds StrictOrder::longest_wait(std::size_t max, milliseconds wait) const {
  if (!gate_.open())
    return std::min(wait, Clock::now() - gate_.closed_since() < soon_for ? ask_soon : ask_later);
  if (max == 0) return wait;
  if (more_ready_) return milliseconds{0};
  const auto now = Clock::now();
  const auto due = queue_.next_due(now);
  return due ? std::min(wait, std::chrono::ceil<milliseconds>(*due - now)) : wait;
}

void StrictOrder::add(StreamMessagePtr message) {
  const auto now = Clock::now();
  const auto sequence = message->delivery.stream_sequence;
  if (!gate_.received(sequence, message->consumer_sequence, now)) return;
  if (!gate_.open() && needs_no_handler(*message)) {
    gate_.left(sequence);
    return passing_.push_back(std::move(message));
  }
  added_ = now;
  const auto key = order_key(message->delivery.event);
  keep(std::move(message), key, {});
}

/// Then it need not wait, and somebody else may settle it at any time: what a frozen owner has committed and
/// not acked, for example. Counted as open here, it would stand for one that is not here.
bool StrictOrder::needs_no_handler(const StreamMessage& message) {
  const auto& delivery = message.delivery;
  const bool for_others = !message.for_group.empty() && message.for_group != context_.options.group;
  if (for_others || !message.undecodable.empty() || context_.handlers.find(delivery.event.type) == nullptr)
    return true;
  if (delivery.delivered == 1) return false;  // nobody else has had it
  if (unsettled_.contains(delivery.stream_sequence)) return false;
  auto& inbox = context_.inbox;
  bool settled = false;
  (void)outage_.until_done("inbox", [&] {
    settled = guarded(inbox, [&] {
      if (inbox.handled(identity_of(delivery.event))) return true;
      const auto attempts = inbox.attempts(AttemptsKey{delivery}.identity());
      return attempts && attempts->state == Inbox::Attempts::State::dead_letter &&
             attempts->message_stored_at.value_or(delivery.stored_at) == delivery.stored_at;
    });
  });
  if (!settled) unsettled_.insert(delivery.stream_sequence);
  return settled;
}

void StrictOrder::keep(StreamMessagePtr message, const std::string& key, Clock::time_point due) {
  const auto sequence = message->delivery.stream_sequence;
  queue_.add(sequence, key, due);
  more_ready_ = more_ready_ || due == Clock::time_point{};
  messages_.insert_or_assign(sequence, std::move(message));
}

void StrictOrder::look_at_gate() {
  const auto now = Clock::now();
  if (const auto disturbances = puller_.disturbances();
      disturbances != std::exchange(disturbances_, disturbances))
    gate_.close(now);
  if (gate_.gaps() != std::exchange(gaps_, gate_.gaps()))
    spdlog::warn("messages of the group went elsewhere: does anybody else pull from its durable?");
  const bool was_open = gate_.open();
  if (const auto state = puller_.take_state())
    gate_.tell({state->num_ack_pending, state->consumer_sequence, state->stream_sequence});
  if (gate_.open()) {
    if (was_open) return;
    unsettled_.clear();
    return puller_.ask_for_missing(std::nullopt);
  }
  if (now >= ask_again_) {
    puller_.ask_for_state();
    ask_again_ = now + ask_soon;
  }
  // What the server has forgotten, or has handed to somebody who waits as we do, is not kept for ever.
  if (now - std::max(gate_.closed_since(), added_) >= 2 * puller_.ack_wait()) {
    drop_all();
    gate_.restart(now);
  }
  // What is missing comes again after AckWait; a pull that is sent again and again would only bring more.
  if (now < pull_again_ || gate_.missing() == 0) return puller_.ask_for_missing(0);
  pull_again_ = now + puller_.ack_wait() / 4;
  puller_.ask_for_missing(static_cast<int>(gate_.missing()));
}

void StrictOrder::put_back(StreamMessagePtr message, const Settlement& settlement) {
  using enum Settlement::Kind;
  const bool was_started =
      settlement.kind == retry || settlement.kind == unavailable || settlement.kind == fenced;
  if (was_started) ++message->delivery.delivered;  // as if it had been handed out again
  message->retried_here = settlement.kind == retry;
  const bool waits = was_started || settlement.kind == paused;
  const auto key = order_key(message->delivery.event);
  keep(std::move(message), key, waits ? Clock::now() + settlement.delay : Clock::time_point{});
}

void StrictOrder::put_aside(StreamMessagePtr message, milliseconds delay) {
  ++message->delivery.delivered;
  keep(std::move(message), {}, Clock::now() + delay);
}

std::vector<StreamMessagePtr> StrictOrder::take_all() {
  auto taken = in_order(queue_.take_all());
  std::ranges::move(std::exchange(passing_, {}), std::back_inserter(taken));
  return taken;
}

void StrictOrder::begin_anew() {
  (void)take_all();
  unsettled_.clear();
  key_order_.forget_all();
  gate_ = TakeOverGate{Clock::now()};
  gaps_ = 0;
  puller_.ask_for_missing(0);
}

/// Unsettled: those that are still the group's come again after AckWait.
void StrictOrder::drop_all() {
  key_order_.forget_all();
  for (const auto& message : take_all()) gate_.left(message->delivery.stream_sequence);
}

std::vector<StreamMessagePtr> StrictOrder::in_order(const std::vector<std::uint64_t>& sequences) {
  std::vector<StreamMessagePtr> taken;
  taken.reserve(sequences.size());
  for (const auto sequence : sequences) taken.push_back(std::move(messages_.extract(sequence).mapped()));
  return taken;
}

std::string StrictOrder::waiting_for() const {
  if (!gate_.open()) {
    if (gate_.missing() == 0) return "order: the group's state";
    return "order: " + std::to_string(gate_.missing()) + " messages that were handed out elsewhere";
  }
  const auto max_open = static_cast<std::size_t>(context_.options.max_ack_pending);
  const bool all_open = queue_.size() >= max_open;
  const auto key = all_open || puller_.full() ? queue_.longest_key(Clock::now()) : std::string{};
  if (key.empty()) return {};
  return (all_open ? "order: all " + std::to_string(max_open) + " messages that may be open"
                   : std::string{"order: as many bytes as may be here (prefetch_bytes)"}) +
         " wait for a retry, most of " + key.substr(key.find('\n') + 1);
}

}  // namespace tidings
