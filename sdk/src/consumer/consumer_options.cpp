#include "nats/subject.hpp"

#include <tidings/consumer_options.hpp>
#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>
#include <string_view>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view event_suffix = "_EVENTS", dead_letter_suffix = "_DLQ";

constexpr auto unlimited = std::numeric_limits<std::int64_t>::max();

struct Range {
  std::int64_t min, max = unlimited;
};
// The limits of what can be set in two places; validate() states the others.
constexpr Range replicas{1, 5}, max_attempts{1, 1000}, ack_wait_ms{100, 3'600'000}, lease_ms{500, 3'600'000};

void require(bool holds, const std::string& option, const std::string& value, const std::string& takes) {
  if (!holds) throw SettingError(option + "=" + value + ": takes " + takes);
}

void require(const std::string& option, std::int64_t value, Range range, const std::string& unit = "") {
  const auto min = std::to_string(range.min), max = std::to_string(range.max);
  require(value >= range.min && value <= range.max, option, std::to_string(value),
          (range.max == unlimited ? "at least " + min : min + " to " + max) + unit);
}

void require(const std::string& option, const Backoff& backoff) {
  require(backoff.base.count() > 0 && backoff.max >= backoff.base, option,
          std::to_string(backoff.base.count()) + "…" + std::to_string(backoff.max.count()),
          "0 < base <= max");
}

void require_name(const std::string& option, const std::string& name) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  require(!name.empty() && name.size() < 32 && name.find_first_not_of(letters) == std::string::npos, option,
          name, "1 to 31 letters, digits, _ or -");
}

std::string dead_letter_stream_of(const std::string& stream) {
  if (stream.ends_with(dead_letter_suffix)) return stream;  // which is then refused
  const auto stem = stream.ends_with(event_suffix) ? stream.size() - event_suffix.size() : stream.size();
  return stream.substr(0, stem).append(dead_letter_suffix);
}

/// Follows the stream's name, not the prefix of events: no two dead-letter streams claim the same subjects.
std::string dead_letter_prefix_of(const std::string& dead_letter_stream, const std::string& subject_prefix) {
  auto stem = dead_letter_stream;
  if (stem.ends_with(dead_letter_suffix)) stem.resize(stem.size() - dead_letter_suffix.size());
  std::ranges::transform(stem, stem.begin(), [](unsigned char letter) { return std::tolower(letter); });
  const auto prefix = stem + ".dlq";
  return covers(subject_prefix + ".>", prefix) ? "dlq." + stem : prefix;
}

/// Each dead letter of such a group would come back to it, and become another.
void require_apart(const ConsumerOptions& options) {
  constexpr auto remedy = ": dead letters are sent again with `tidings dlq redrive`";
  require(options.stream != options.dead_letter_stream, "ConsumerOptions::stream", options.stream,
          "another stream than its dead-letter stream (CONSUMER_DLQ_STREAM)" + std::string{remedy});
  const auto events = options.subject_prefix + ".>", letters = options.dead_letter_prefix + ".>";
  require(!covers(events, letters) && !covers(letters, events), "ConsumerOptions::dead_letter_prefix",
          options.dead_letter_prefix,
          "a prefix apart from " + options.subject_prefix + ", that of events" + remedy);
}

void require_prefix(const std::string& option, const std::string& subject) {
  require(is_literal_subject(subject), option, subject, "a subject without wildcards");
  // A stream there would answer what is asked of NATS, and be told what is answered.
  require(subject.front() != '$' && !covers("_INBOX.>", subject + ".>"), option, subject,
          "a subject of your own; those that begin with $ or _INBOX are NATS's");
}

}  // namespace

std::optional<Start> Start::parse(std::string_view text) {
  if (text == "all") return Start{};
  if (text == "new") return Start{.at = At::now};
  const auto time = parse_timestamp(text);
  return time ? std::optional{Start{At::since, *time}} : std::nullopt;
}

void ConsumerOptions::follow_stream() {
  if (dead_letter_stream.empty()) dead_letter_stream = dead_letter_stream_of(stream);
  if (dead_letter_prefix.empty())
    dead_letter_prefix = dead_letter_prefix_of(dead_letter_stream, subject_prefix);
}

void ConsumerOptions::follow_order() {
  if (order != Order::strict) return;
  ack_wait = lease;
  prefetch = std::min(prefetch, max_ack_pending);
  max_ack_pending = prefetch;
  hold_back = true;
}

ConsumerOptions ConsumerOptions::from_environment() {
  const auto integer_or = [](const char* variable, int fallback, Range range) {
    return static_cast<int>(settings::integer_or(variable, fallback, range.min, range.max));
  };
  ConsumerOptions options;
  options.group = settings::text_or("CONSUMER_GROUP", options.group);
  options.stream = settings::text_or("OUTBOX_STREAM", options.stream);
  options.subject_prefix = settings::text_or("OUTBOX_SUBJECT_PREFIX", options.subject_prefix);
  options.dead_letter_stream = settings::text_or("CONSUMER_DLQ_STREAM", options.dead_letter_stream);
  options.dead_letter_prefix = settings::text_or("CONSUMER_DLQ_PREFIX", options.dead_letter_prefix);
  options.replicas = integer_or("OUTBOX_STREAM_REPLICAS", options.replicas, tidings::replicas);
  options.max_attempts = integer_or("CONSUMER_MAX_ATTEMPTS", options.max_attempts, tidings::max_attempts);
  options.backoff = Backoff::from_environment("CONSUMER_BACKOFF_BASE_MS", "CONSUMER_BACKOFF_MAX_MS");
  options.ack_wait = settings::milliseconds_or("CONSUMER_ACK_WAIT_MS", options.ack_wait,
                                               milliseconds{ack_wait_ms.min}, milliseconds{ack_wait_ms.max});
  options.lease = settings::milliseconds_or("CONSUMER_LEASE_MS", options.lease, milliseconds{lease_ms.min},
                                            milliseconds{lease_ms.max});
  const auto order = settings::text_or("CONSUMER_ORDER", "shared");
  if (order == "strict")
    options.order = Order::strict;
  else if (order != "shared")
    throw SettingError("CONSUMER_ORDER=" + order + ": takes shared or strict");
  options.make_strict = settings::integer_or("CONSUMER_MAKE_STRICT", 0, 0, 1) == 1;
  if (const auto text = settings::text_or("CONSUMER_START", "all"); const auto start = Start::parse(text))
    options.start = *start;
  else
    throw SettingError("CONSUMER_START=" + text + ": takes all, new or a time as 2026-01-31T08:15:30Z");
  const auto filter = settings::text_or("CONSUMER_FILTER", "by_type");
  if (filter == "whole_stream")
    options.filter = Filter::whole_stream;
  else if (filter != "by_type")
    throw SettingError("CONSUMER_FILTER=" + filter + ": takes by_type or whole_stream");
  options.connection = ConnectionOptions::from_environment();
  return options;
}

void ConsumerOptions::validate() const {
  const auto named = [](const char* option) { return std::string("ConsumerOptions::") + option; };
  auto used = *this;
  used.follow_stream();
  require_name(named("group"), group);
  require_name(named("stream"), stream);
  require_name(named("dead_letter_stream"), used.dead_letter_stream);
  require_prefix(named("subject_prefix"), subject_prefix);
  require_prefix(named("dead_letter_prefix"), used.dead_letter_prefix);
  require_apart(used);
  require(named("backoff"), backoff);

  const auto bytes = std::min<std::uint64_t>(prefetch_bytes, unlimited);
  const struct {
    const char* option;
    std::int64_t value;
    Range range;
    const char* unit = "";
  } numbers[] = {
      {"replicas", replicas, tidings::replicas},
      {"max_attempts", max_attempts, tidings::max_attempts},
      {"ack_wait", ack_wait.count(), ack_wait_ms, " ms"},
      {"lease", lease.count(), lease_ms, " ms"},
      {"max_ack_pending", max_ack_pending, {1, 1'000'000}},
      {"max_batch", max_batch, {1, 10000}},
      {"prefetch", prefetch, {max_batch, 100000}},
      {"prefetch_bytes", static_cast<std::int64_t>(bytes), {65536}},
      {"workers", workers, {0, 1024}},
      {"handler_time_limit", handler_time_limit.count(), {100}, " ms"},
      {"max_batch_time", max_batch_time.count(), {0}, " ms"},
      {"inbox_retention", inbox_retention.count(), {1}, " h"},
      {"exit_when_idle", exit_when_idle.value_or(milliseconds{1}).count(), {1}, " ms"},
      {"drain_timeout", drain_timeout.count(), {1}, " ms"},
  };
  for (const auto& [option, value, range, unit] : numbers) require(named(option), value, range, unit);
}

void RetryPolicy::validate(const std::string& type) const {
  const auto named = [&type](const char* option) { return "RetryPolicy of " + type + ": " + option; };
  if (max_attempts) require(named("max_attempts"), *max_attempts, tidings::max_attempts);
  if (backoff) require(named("backoff"), *backoff);
}

}  // namespace tidings
