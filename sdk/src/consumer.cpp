#include "consumer_run.hpp"

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

void validate(const ConsumerOptions& options) {
  constexpr const char* name_rule = "1 to 31 letters, digits, _ or -";
  require(is_name(options.group), "group", options.group, name_rule);
  require(is_name(options.stream), "stream", options.stream, name_rule);
  require(is_name(options.dead_letter_stream), "dead_letter_stream", options.dead_letter_stream, name_rule);
  constexpr const char* prefix_rule = "a subject without wildcards";
  require(is_prefix(options.subject_prefix), "subject_prefix", options.subject_prefix, prefix_rule);
  require(is_prefix(options.dead_letter_prefix), "dead_letter_prefix", options.dead_letter_prefix,
          prefix_rule);
  require(options.max_attempts >= 1, "max_attempts", std::to_string(options.max_attempts), "at least 1");
  require(options.backoff.base.count() > 0 && options.backoff.max >= options.backoff.base, "backoff",
          text(options.backoff.base) + "…" + text(options.backoff.max), "0 < base <= max");
  require(options.ack_wait >= milliseconds{100}, "ack_wait", text(options.ack_wait), "at least 100 ms");
  require(options.max_batch >= 1 && options.max_batch <= 10000, "max_batch",
          std::to_string(options.max_batch), "1 to 10000");
  require(options.prefetch >= options.max_batch && options.prefetch <= 100000, "prefetch",
          std::to_string(options.prefetch), "max_batch to 100000");
  require(options.max_batch_time.count() >= 0, "max_batch_time", text(options.max_batch_time),
          "0 ms or more");
  require(options.inbox_retention.count() >= 1, "inbox_retention",
          std::to_string(options.inbox_retention.count()), "at least 1 hour");
  require(!options.exit_when_idle || options.exit_when_idle->count() > 0, "exit_when_idle",
          text(options.exit_when_idle.value_or(milliseconds{})), "at least 1 ms, or nothing");
  require(options.drain_timeout.count() > 0, "drain_timeout", text(options.drain_timeout), "at least 1 ms");
}

}  // namespace

ConsumerEngine::ConsumerEngine(Inbox& inbox, ConsumerOptions options) {
  validate(options);
  state_ = std::make_unique<State>(inbox, std::move(options));
  inbox.join(state_->options.group);
}

ConsumerEngine::~ConsumerEngine() = default;

void ConsumerEngine::on(const std::string& type, Handler handler) {
  if (state_->running) throw Error("handler for " + type + " comes too late: add handlers before run()");
  if (!state_->handlers.emplace(type, std::move(handler)).second)
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
    ConsumerRun{*state_, stop}.work();
  } catch (const Error& error) {
    if (!error.retryable() || !stop.stop_requested()) throw;  // stopped while it waited for NATS
  }
}

ConsumerStats ConsumerEngine::stats() const {
  const auto& state = *state_;
  return {.received = state.received,
          .handled = state.handled,
          .duplicates = state.duplicates,
          .retried = state.retried,
          .held_back = state.held_back,
          .dead_lettered = state.dead_lettered,
          .ignored = state.ignored,
          .commits = state.commits};
}

}  // namespace tidings
