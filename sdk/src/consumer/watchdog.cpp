#include "consumer/watchdog.hpp"

#include "retry_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;

namespace {

// A commit that takes longer is worth telling of.
constexpr milliseconds slow_inbox{2000};
// However soon a stop should end: a busy database answers within this.
constexpr milliseconds shortest_silence{500};

}  // namespace

void Watchdog::watch(const std::stop_token& end) {
  const auto& options = context_.options;
  const auto shortest = std::min(options.handler_time_limit, options.drain_timeout);
  const auto interval = std::clamp(shortest / 4, milliseconds{10}, milliseconds{500});
  for (; !end.stop_requested(); pause(end, interval)) {
    look_at_handler();
    look_at_inbox();
    look_at_stop();
    tell_what_holds_up();
  }
}

void Watchdog::look_at_handler() {
  const auto handler = executor_.overdue();
  if (!handler || handler->since == told_overdue_) return;
  told_overdue_ = handler->since;
  const auto reason = name_of(*handler) + " has run for longer than handler_time_limit (" +
                      std::to_string(context_.options.handler_time_limit.count()) + " ms)";
  context_.status.set(ConsumerStatus::State::waiting, reason);
  if (ends_process(context_)) end_process(reason);
  spdlog::error("{}: other instances get what waits behind it", reason);
  context_.inbox.interrupt();
}

void Watchdog::look_at_inbox() {
  const auto since = context_.inbox.waits_since();
  if (!since) return;
  const auto waited = Inbox::Clock::now() - *since;
  if (stop_.stop_requested()) {
    // The other half is for giving back what is not done.
    if (waited >= std::max(context_.options.drain_timeout / 2, shortest_silence)) context_.inbox.interrupt();
  } else if (waited >= slow_inbox) {
    context_.status.set(ConsumerStatus::State::waiting, "inbox: the database does not answer");
  }
}

/// Nothing can stop a handler: a stop waits for it, in transactional mode.
void Watchdog::look_at_stop() {
  if (told_of_stop_ || !stop_.stop_requested()) return;
  const auto now = Clock::now();
  if (!stop_seen_) stop_seen_ = now;
  const auto& drain_timeout = context_.options.drain_timeout;
  const auto handler = executor_.running();
  if (!handler || now - *stop_seen_ < drain_timeout) return;
  told_of_stop_ = true;
  const auto reason = name_of(*handler) + " still runs after drain_timeout (" +
                      std::to_string(drain_timeout.count()) + " ms)";
  context_.status.set(ConsumerStatus::State::draining, reason);
  spdlog::warn("{}: the stop waits for its end{}", reason,
               ends_process(context_) ? ", and no longer than handler_time_limit" : "");
}

/// For those who ask why the consumer's loop stands still.
void Watchdog::tell_what_holds_up() {
  constexpr milliseconds worth_telling{1000};
  std::string by;
  const auto handler = executor_.running();
  if (context_.options.workers == 0)
    handler ? context_.handler.step(handler->since) : context_.handler.rest();
  if (handler && Clock::now() - handler->since >= worth_telling)
    by = name_of(*handler) + " runs";
  else if (const auto since = context_.inbox.waits_since();
           since && Inbox::Clock::now() - *since >= worth_telling)
    by = "inbox: the database does not answer";
  context_.status.hold_up(std::move(by));
}

std::string Watchdog::name_of(const BatchExecutor::Running& handler) const {
  return "the handler of the message at sequence " + std::to_string(handler.stream_sequence) + " of stream " +
         context_.options.stream;
}

bool ends_process(const ConsumerContext& context) {
  using enum ConsumerOptions::Overdue;
  const bool others_locked_out = context.options.workers == 0 && context.inbox.transaction_locks_all();
  return context.options.on_overdue.value_or(others_locked_out ? end_process : wait) == end_process;
}

void end_process(const std::string& reason) {
  spdlog::critical("ending this process: {}", reason);
  spdlog::default_logger()->flush();
  std::_Exit(1);  // no destructor may wait for the handler
}

}  // namespace tidings
