#include "consumer/consumer_session.hpp"

#include <tidings/consumer.hpp>

#include <algorithm>

namespace tidings {

using std::chrono::milliseconds;

namespace {

void require(bool holds, const char* option, const std::string& value, const char* takes) {
  if (!holds)
    throw SettingError(std::string("ConsumerOptions::") + option + "=" + value + ": takes " + takes);
}

bool is_name(const std::string& name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !name.empty() && name.size() < 32 && name.find_first_not_of(letters) == std::string::npos;
}

/// Tokens with dots between them, no wildcards.
bool is_prefix(const std::string& subject) {
  const auto illegal = [](char letter) {
    return letter <= ' ' || letter == '*' || letter == '>' || letter == '\x7f';
  };
  return !subject.empty() && subject.front() != '.' && subject.back() != '.' &&
         subject.find("..") == std::string::npos && std::ranges::none_of(subject, illegal);
}

std::string text(milliseconds time) { return std::to_string(time.count()); }

std::string text(const Backoff& backoff) { return text(backoff.base) + "…" + text(backoff.max); }

bool sound(const Backoff& backoff) { return backoff.base.count() > 0 && backoff.max >= backoff.base; }

void validate(const ConsumerOptions& options) {
  constexpr const char* name_rule = "1 to 31 letters, digits, _ or -";
  require(is_name(options.group), "group", options.group, name_rule);
  require(is_name(options.stream), "stream", options.stream, name_rule);
  require(is_name(options.dead_letter_stream), "dead_letter_stream", options.dead_letter_stream, name_rule);
  constexpr const char* prefix_rule = "a subject without wildcards";
  require(is_prefix(options.subject_prefix), "subject_prefix", options.subject_prefix, prefix_rule);
  require(is_prefix(options.dead_letter_prefix), "dead_letter_prefix", options.dead_letter_prefix,
          prefix_rule);
  require(options.replicas >= 1 && options.replicas <= 5, "replicas", std::to_string(options.replicas),
          "1 to 5");
  require(options.max_attempts >= 1, "max_attempts", std::to_string(options.max_attempts), "at least 1");
  require(sound(options.backoff), "backoff", text(options.backoff), "0 < base <= max");
  require(options.ack_wait >= milliseconds{100}, "ack_wait", text(options.ack_wait), "at least 100 ms");
  require(options.max_batch >= 1 && options.max_batch <= 10000, "max_batch",
          std::to_string(options.max_batch), "1 to 10000");
  require(options.prefetch >= options.max_batch && options.prefetch <= 100000, "prefetch",
          std::to_string(options.prefetch), "max_batch to 100000");
  require(options.prefetch_bytes >= 65536, "prefetch_bytes", std::to_string(options.prefetch_bytes),
          "at least 65536");
  require(options.workers >= 0 && options.workers <= 1024, "workers", std::to_string(options.workers),
          "0 to 1024");
  require(options.handler_time_limit >= milliseconds{100}, "handler_time_limit",
          text(options.handler_time_limit), "at least 100 ms");
  require(options.max_batch_time.count() >= 0, "max_batch_time", text(options.max_batch_time),
          "0 ms or more");
  require(options.inbox_retention.count() >= 1, "inbox_retention",
          std::to_string(options.inbox_retention.count()), "at least 1 hour");
  require(!options.exit_when_idle || options.exit_when_idle->count() > 0, "exit_when_idle",
          text(options.exit_when_idle.value_or(milliseconds{})), "at least 1 ms, or nothing");
  require(options.drain_timeout.count() > 0, "drain_timeout", text(options.drain_timeout), "at least 1 ms");
}

void validate(const std::string& type, const RetryPolicy& retry) {
  const auto require = [&type](bool holds, const std::string& what, const char* takes) {
    if (!holds) throw SettingError("RetryPolicy of " + type + ": " + what + ": takes " + takes);
  };
  if (retry.max_attempts)
    require(*retry.max_attempts >= 1, "max_attempts=" + std::to_string(*retry.max_attempts), "at least 1");
  if (retry.backoff) require(sound(*retry.backoff), "backoff=" + text(*retry.backoff), "0 < base <= max");
}

}  // namespace

ConsumerEngine::ConsumerEngine(Inbox& inbox, ConsumerOptions options) {
  validate(options);
  state_ = std::make_unique<ConsumerContext>(inbox, std::move(options));
  inbox.join(state_->options.group);
}

ConsumerEngine::~ConsumerEngine() = default;

void ConsumerEngine::on(const std::string& type, Handler handler, Takes takes, RetryPolicy retry) {
  if (state_->running) throw Error("handler for " + type + " comes too late: add handlers before run()");
  if (takes == Takes::transaction && state_->options.workers > 0)
    throw Error("the handler for " + type +
                " takes a transaction, which there is none of with workers: take (event, delivery) only");
  validate(type, retry);
  if (!state_->handlers.add(type, {std::move(handler), std::move(retry)}))
    throw Error("there is a handler for " + type + " already: one for each type");
}

void ConsumerEngine::run(const std::stop_token& stop) {
  if (state_->handlers.empty()) throw Error("no handler: call on() before run()");
  if (state_->running.exchange(true)) throw Error("this consumer is running already");
  struct Ended {
    std::atomic<bool>& running;
    ~Ended() { running = false; }
  } const ended{state_->running};
  try {
    state_->set_status(ConsumerStatus::State::waiting, "NATS: not connected");  // yet
    ConsumerSession{*state_, stop}.work();
    state_->set_status(ConsumerStatus::State::stopped);
  } catch (const std::exception& error) {
    state_->set_status(ConsumerStatus::State::stopped, error.what());
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

ConsumerStatus ConsumerEngine::status() const { return state_->status(); }

}  // namespace tidings
