#include "consumer/consumer_report.hpp"
#include "consumer/consumer_session.hpp"
#include "consumer/inbox_guard.hpp"

#include <tidings/consumer.hpp>

#include <exception>
#include <mutex>
#include <thread>

namespace tidings {
namespace {

/// Instances of both kinds side by side would keep no order: the inbox knows which one the group has.
void require_order(Inbox& inbox, const ConsumerOptions& options) {
  const bool strict = options.order == ConsumerOptions::Order::strict;
  if (guarded(inbox, [&] { return inbox.is_strict(); })) {
    if (!strict)
      throw SettingError("CONSUMER_ORDER=shared: the group " + options.group +
                         " is strict in this inbox: set CONSUMER_ORDER=strict, or use another group");
    return;
  }
  if (!strict) return;
  const bool was_shared = guarded(
      inbox, [&] { return inbox.has_handled_events() || inbox.position(options.stream).has_value(); });
  if (was_shared && !options.make_strict)
    throw SettingError("CONSUMER_ORDER=strict: the group " + options.group +
                       " was shared: stop all of its instances, and start one with CONSUMER_MAKE_STRICT=1");
  guarded(inbox, [&] { inbox.make_strict(); });
}

ConsumerSession::End run_session(ConsumerContext& context, const std::stop_token& stop) {
  try {
    context.status.set(ConsumerStatus::State::waiting, "NATS: not connected");  // yet
    const auto end = ConsumerSession{context, stop}.work();
    if (const auto why = context.inbox.lost(); !why.empty()) throw DatabaseError(why);
    return end;
  } catch (const Error& error) {
    if (!error.retryable() || !stop.stop_requested()) throw;
    return ConsumerSession::End::stopped;  // while it waited for NATS: an end like any other
  }
}

}  // namespace

ConsumerEngine::ConsumerEngine(Inbox& inbox, ConsumerOptions options, Connection* shared) {
  options.follow_stream();
  options.validate();
  options.follow_order();
  if (options.connection.name.empty()) options.connection.name = options.group;
  state_ = std::make_unique<ConsumerContext>(inbox, std::move(options), shared);
  inbox.join(state_->options.group);
  require_order(inbox, state_->options);
}

ConsumerEngine::~ConsumerEngine() = default;

void ConsumerEngine::on(const std::string& type, Handler handler, Takes takes, RetryPolicy retry) {
  require_addable(type, takes, retry);
  state_->handlers.add(type, {.handle = after_start_hook(std::move(handler)), .retry = retry});
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): it takes std::function's memory for lost

void ConsumerEngine::on_any(Handler handler, Takes takes, RetryPolicy retry) {
  require_addable("other types", takes, retry);
  state_->handlers.add_any({.handle = after_start_hook(std::move(handler)), .retry = retry});
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): it takes std::function's memory for lost

ConsumerEngine::Handler ConsumerEngine::after_start_hook(Handler handler) const {
  const auto& on_start = state_->on_start;
  if (!on_start) return handler;
  return [&on_start, handler = std::move(handler)](const Delivery& delivery) {
    on_start(delivery);
    handler(delivery);
  };
}

void ConsumerEngine::require_addable(const std::string& type, Takes takes, const RetryPolicy& retry) const {
  if (state_->running)
    throw Error("cannot add a handler for " + type + " while the consumer runs: call on() before run()");
  if (takes == Takes::transaction && state_->options.workers > 0)
    throw Error("the handler for " + type +
                " takes a transaction; workers > 0: handlers take (event, delivery), without a transaction");
  retry.validate(type);
}

void ConsumerEngine::run(const std::stop_token& stop) {
  if (state_->handlers.empty()) throw Error("the consumer has no handler: call on() before run()");
  if (state_->running.exchange(true)) throw Error("this consumer is running already");
  auto& control = state_->control;
  struct Ended {
    ConsumerContext& context;
    ~Ended() {
      context.control.run_has_ended();
      context.running = false;
    }
  } const ended{*state_};
  const std::stop_callback on_stop{stop, [&control] { control.stop(); }};
  try {
    bool idle = false;
    while (!idle) {
      if (control.paused()) state_->status.set(ConsumerStatus::State::paused);
      if (!control.wait_until_resumed()) break;
      const auto session = control.begin_session();
      idle = run_session(*state_, session) == ConsumerSession::End::idle;
    }
    state_->status.set(ConsumerStatus::State::stopped);
  } catch (const std::exception& error) {
    state_->status.set(ConsumerStatus::State::stopped, error.what());
    throw;
  }
}

void ConsumerEngine::stop() { state_->control.stop(); }
void ConsumerEngine::pause() { state_->control.pause(); }
void ConsumerEngine::resume() { state_->control.resume(); }

ConsumerStats ConsumerEngine::stats() const {
  const auto& meters = state_->meters;
  const auto time = Percentiles::Clock::now();
  return {.received = meters.received,
          .handled = meters.handled,
          .duplicates = meters.duplicates,
          .retried = meters.retried,
          .unavailable = meters.unavailable,
          .paused = meters.paused,
          .held_back = meters.held_back,
          .dead_lettered = meters.dead_lettered,
          .ignored = meters.ignored,
          .fenced = meters.fenced,
          .commits = meters.commits,
          .in_flight = meters.group.in_flight,
          .held_keys = meters.group.held_keys,
          .lag = meters.group.lag,
          .last_commit_size = meters.last_commit_size,
          .handling_p50 = meters.handling.at(0.5, time),
          .handling_p99 = meters.handling.at(0.99, time),
          .age_p50 = meters.age.at(0.5, time),
          .age_p99 = meters.age.at(0.99, time),
          .by_type = meters.by_type.read()};
}

ConsumerStatus ConsumerEngine::status() const { return state_->status.get(); }

MonitorReport ConsumerEngine::report(const HealthLimits& limits) const {
  return report_of(*state_, stats(), limits);
}

void run_side_by_side(const std::stop_token& stop,
                      const std::vector<std::function<void(const std::stop_token&)>>& runs) {
  std::stop_source end;
  const std::stop_callback forward{stop, [&end] { end.request_stop(); }};
  std::mutex mutex;
  std::exception_ptr first;
  {
    std::vector<std::jthread> threads;
    threads.reserve(runs.size());
    for (const auto& run : runs)
      threads.emplace_back([&] {
        try {
          run(end.get_token());
        } catch (...) {
          {
            const std::lock_guard lock{mutex};
            if (!first) first = std::current_exception();
          }
          end.request_stop();
        }
      });
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace tidings
