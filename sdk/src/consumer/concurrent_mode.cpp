#include "consumer/concurrent_mode.hpp"

#include "consumer/watchdog.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;

namespace {

constexpr milliseconds stuck_delay{100};  // before messages that found no worker come again
constexpr milliseconds last_flush{200};   // of a process that ends

}  // namespace

ConcurrentMode::ConcurrentMode(ConsumerContext& context, KeyOrder& key_order, Puller& puller,
                               Settler& settler, OutageWait& outage, const std::stop_token& stop)
    : context_(context),
      puller_(puller),
      settler_(settler),
      outage_(outage),
      executor_(context.inbox, context.handlers, context.options, key_order, [&puller] { puller.wake(); }),
      on_stop_(stop, [this] { executor_.start_no_more(); }) {}

/// As many as are taken, and as many that are not.
Prefetch ConcurrentMode::share(Prefetch prefetch, int workers) {
  prefetch.messages = std::min(prefetch.messages, 2 * workers * ahead_of_a_worker);
  prefetch.handlers = workers;
  return prefetch;
}

void ConcurrentMode::submit(StreamMessagePtr message) {
  const auto ticket = next_ticket_++;
  executor_.submit(ticket, std::move(message->delivery));
  messages_.emplace(ticket, std::move(message));
}

bool ConcurrentMode::step() {
  puller_.behind_their_keys(executor_.behind_their_keys());
  if (!executor_.more_to_do()) return false;
  std::vector<ConcurrentExecutor::Settled> settlements;
  if (!outage_.until_done("inbox", [&] { settlements = executor_.step(); })) return false;
  settler_.committed(settlements.size());
  settle(std::move(settlements));
  return true;
}

bool ConcurrentMode::leave_to_others() {
  const bool stuck = executor_.all_stuck();
  const bool was_stuck = std::exchange(stuck_, stuck);
  if (stuck && executor_.size() > 0) {
    std::vector<ConcurrentExecutor::Settled> settlements;
    if (outage_.until_done("inbox", [&] { settlements = executor_.withdraw(stuck_delay); }))
      settle(std::move(settlements));
  }
  return stuck || was_stuck;
}

/// One that hangs holds up its key alone, and the consumer is ready: this is how it is seen.
void ConcurrentMode::show_handlers() {
  if (const auto since = executor_.oldest_start())
    context_.handler.step(*since);
  else
    context_.handler.rest();
  context_.overdue_handlers = executor_.late();
}

void ConcurrentMode::end_process_if_stuck(Connection& connection) {
  if (!all_stuck() || !ends_process(context_)) return;
  connection.flush(last_flush);
  end_process(all_stuck_reason);
}

std::size_t ConcurrentMode::room() const {
  const auto most =
      static_cast<std::size_t>(std::min(context_.options.workers * ahead_of_a_worker, puller_.enough()));
  return most - std::min(most, executor_.size());
}

std::optional<ConcurrentMode::Clock::time_point> ConcurrentMode::next_step() {
  if (executor_.more_to_do()) return Clock::now();
  return executor_.next_overdue();
}

void ConcurrentMode::withdraw() {
  if (!context_.inbox.lost().empty()) return;  // drain() gives everything back
  try {
    for (auto& settled : executor_.withdraw())
      settler_.keep_for_drain(std::move(messages_.extract(settled.ticket).mapped()));
  } catch (const InboxUnavailable& error) {
    spdlog::warn("{}: messages that no worker has started are given back late", error.what());
  }
}

void ConcurrentMode::drain(Clock::time_point deadline) {
  while (executor_.size() > 0 && Clock::now() < deadline && context_.inbox.lost().empty()) {
    try {
      settle(executor_.withdraw());  // nothing, unless the inbox could not be written before
      settle(executor_.step());
      if (executor_.more_to_do()) continue;
    } catch (const InboxUnavailable&) {  // until the deadline
    }
    (void)puller_.take(0, milliseconds{50}, {});
  }
  settle(executor_.abandon_all());
}

/// Their messages are with the group again.
void ConcurrentMode::tell_of_late_handlers() {
  const auto late = executor_.stuck();
  if (late == 0) return;
  const auto reason = std::to_string(late) + " handlers still run at the end of the drain";
  if (ends_process(context_) && !context_.control.paused()) end_process(reason);
  context_.status.set(ConsumerStatus::State::draining, reason);
  spdlog::warn("{}: what they do from now on is done again, and the stop waits for their end", reason);
}

void ConcurrentMode::settle(std::vector<ConcurrentExecutor::Settled>&& settlements) {
  for (auto& [ticket, delivery, settlement] : settlements) {
    auto message = std::move(messages_.extract(ticket).mapped());
    message->delivery = std::move(delivery);
    settler_.settle(std::move(message), settlement);
  }
}

}  // namespace tidings
