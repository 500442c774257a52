#include "consumer/option_limits.hpp"

#include "nats/subject.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <chrono>
#include <limits>
#include <string_view>

namespace tidings {
namespace {

using std::chrono::milliseconds;

template <class Value>
struct Limits {
  Value min, max;
};
constexpr int any = std::numeric_limits<int>::max();
constexpr milliseconds any_time = milliseconds::max();

constexpr Limits<int> replicas{1, 5};
constexpr Limits<int> max_attempts{1, 1000};
constexpr Limits<int> max_batch{1, 10000};
constexpr int max_prefetch = 100000;  // at least max_batch
constexpr Limits<int> workers{0, 1024};
constexpr std::size_t min_prefetch_bytes = 65536;
constexpr Limits<milliseconds> ack_wait{milliseconds{100}, std::chrono::hours{1}};
constexpr Limits<milliseconds> handler_time_limit{milliseconds{100}, any_time};
constexpr Limits<milliseconds> max_batch_time{milliseconds{0}, any_time};
constexpr Limits<milliseconds> at_least_1_ms{milliseconds{1}, any_time};
constexpr std::chrono::hours min_inbox_retention{1};

void require(bool holds, const std::string& option, const std::string& value, const std::string& takes) {
  if (!holds) throw SettingError(option + "=" + value + ": takes " + takes);
}

void require(const std::string& option, int value, Limits<int> limits) {
  require(value >= limits.min && value <= limits.max, option, std::to_string(value),
          limits.max == any ? "at least " + std::to_string(limits.min)
                            : std::to_string(limits.min) + " to " + std::to_string(limits.max));
}

std::string text(milliseconds time) { return std::to_string(time.count()); }

void require(const std::string& option, milliseconds value, Limits<milliseconds> limits) {
  require(value >= limits.min && value <= limits.max, option, text(value),
          limits.max == any_time ? "at least " + text(limits.min) + " ms"
                                 : text(limits.min) + " to " + text(limits.max) + " ms");
}

void require(const std::string& option, const Backoff& backoff) {
  require(backoff.base.count() > 0 && backoff.max >= backoff.base, option,
          text(backoff.base) + "…" + text(backoff.max), "0 < base <= max");
}

void require_name(const std::string& option, const std::string& name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  require(!name.empty() && name.size() < 32 && name.find_first_not_of(letters) == std::string::npos, option,
          name, "1 to 31 letters, digits, _ or -");
}

void require_prefix(const std::string& option, const std::string& subject) {
  require(is_literal_subject(subject), option, subject, "a subject without wildcards");
}

int integer_or(const char* variable, int fallback, Limits<int> limits) {
  return static_cast<int>(settings::integer_or(variable, fallback, limits.min, limits.max));
}

}  // namespace

ConsumerOptions ConsumerOptions::from_environment() {
  using settings::text_or;
  ConsumerOptions options;
  options.group = text_or("CONSUMER_GROUP", options.group);
  options.stream = text_or("OUTBOX_STREAM", options.stream);
  options.subject_prefix = text_or("OUTBOX_SUBJECT_PREFIX", options.subject_prefix);
  options.replicas = integer_or("OUTBOX_STREAM_REPLICAS", options.replicas, tidings::replicas);
  options.max_attempts = integer_or("CONSUMER_MAX_ATTEMPTS", options.max_attempts, tidings::max_attempts);
  options.backoff = Backoff::from_environment("CONSUMER_BACKOFF_BASE_MS", "CONSUMER_BACKOFF_MAX_MS");
  options.ack_wait = settings::milliseconds_or("CONSUMER_ACK_WAIT_MS", options.ack_wait,
                                               tidings::ack_wait.min, tidings::ack_wait.max);
  options.connection = ConnectionOptions::from_environment();
  return options;
}

void validate(const ConsumerOptions& options) {
  const auto named = [](const char* option) { return std::string("ConsumerOptions::") + option; };
  require_name(named("group"), options.group);
  require_name(named("stream"), options.stream);
  require_name(named("dead_letter_stream"), options.dead_letter_stream);
  require_prefix(named("subject_prefix"), options.subject_prefix);
  require_prefix(named("dead_letter_prefix"), options.dead_letter_prefix);
  require(named("replicas"), options.replicas, replicas);
  require(named("max_attempts"), options.max_attempts, max_attempts);
  require(named("backoff"), options.backoff);
  require(named("ack_wait"), options.ack_wait, ack_wait);
  require(named("max_batch"), options.max_batch, max_batch);
  require(named("prefetch"), options.prefetch, {options.max_batch, max_prefetch});
  require(options.prefetch_bytes >= min_prefetch_bytes, named("prefetch_bytes"),
          std::to_string(options.prefetch_bytes), "at least " + std::to_string(min_prefetch_bytes));
  require(named("workers"), options.workers, workers);
  require(named("handler_time_limit"), options.handler_time_limit, handler_time_limit);
  require(named("max_batch_time"), options.max_batch_time, max_batch_time);
  require(options.inbox_retention >= min_inbox_retention, named("inbox_retention"),
          std::to_string(options.inbox_retention.count()), "at least 1 hour");
  if (options.exit_when_idle) require(named("exit_when_idle"), *options.exit_when_idle, at_least_1_ms);
  require(named("drain_timeout"), options.drain_timeout, at_least_1_ms);
}

void validate(const std::string& type, const RetryPolicy& retry) {
  const auto named = [&type](const char* option) { return "RetryPolicy of " + type + ": " + option; };
  if (retry.max_attempts) require(named("max_attempts"), *retry.max_attempts, max_attempts);
  if (retry.backoff) require(named("backoff"), *retry.backoff);
}

}  // namespace tidings
