#include "consumer/consumer_session.hpp"

#include <tidings/consumer.hpp>

namespace tidings {

ConsumerEngine::ConsumerEngine(Inbox& inbox, ConsumerOptions options) {
  options.follow_stream();
  options.validate();
  state_ = std::make_unique<ConsumerContext>(inbox, std::move(options));
  inbox.join(state_->options.group);
}

ConsumerEngine::~ConsumerEngine() = default;

void ConsumerEngine::on(const std::string& type, Handler handler, Takes takes, RetryPolicy retry) {
  require_addable(type, takes, retry);
  state_->handlers.add(type, {.handle = std::move(handler), .retry = retry});
}

void ConsumerEngine::on_any(Handler handler, Takes takes, RetryPolicy retry) {
  require_addable("other types", takes, retry);
  state_->handlers.add_any({.handle = std::move(handler), .retry = retry});
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
  struct Ended {
    std::atomic<bool>& running;
    ~Ended() { running = false; }
  } const ended{state_->running};
  try {
    state_->status.set(ConsumerStatus::State::waiting, "NATS: not connected");  // yet
    ConsumerSession{*state_, stop}.work();
    state_->status.set(ConsumerStatus::State::stopped);
  } catch (const std::exception& error) {
    state_->status.set(ConsumerStatus::State::stopped, error.what());
    const auto* own = dynamic_cast<const Error*>(&error);
    if (own == nullptr || !own->retryable() || !stop.stop_requested()) throw;
    // Stopped while it waited for NATS: an end like any other.
  }
}

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
          .lag = meters.group.lag,
          .last_commit_size = meters.last_commit_size,
          .handling_p50 = meters.handling.at(0.5, time),
          .handling_p99 = meters.handling.at(0.99, time),
          .age_p50 = meters.age.at(0.5, time),
          .age_p99 = meters.age.at(0.99, time)};
}

ConsumerStatus ConsumerEngine::status() const { return state_->status.get(); }

}  // namespace tidings
