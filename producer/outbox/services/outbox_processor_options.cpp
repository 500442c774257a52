#include "nats/partition.hpp"
#include "nats/subject.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/settings.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace tidings {
namespace {

constexpr std::int64_t ms_a_day = 86'400'000;
constexpr std::size_t longest_source = 255;

/// Calls `visit(setting, value, min, max)` for every option that has limits: the one place that states them,
/// in the unit of the option.
template <class Options, class Visit>
void visit_limits(Options& options, Visit&& visit) {
  visit("OUTBOX_PROCESSING_INTERVAL_MS", options.processing_interval, 10, ms_a_day);
  visit("OUTBOX_CLEANUP_INTERVAL_MS", options.cleanup_interval, 10, 30 * ms_a_day);
  visit("OUTBOX_RETENTION_DAYS", options.retention, 0, 36500);
  visit("OUTBOX_MAX_RETRIES", options.max_retries, 1, 1000);
  visit("OUTBOX_PROCESSING_TIMEOUT_MS", options.processing_timeout, 10, ms_a_day);
  visit("OUTBOX_BATCH_SIZE", options.batch_size, 1, 100000);
  visit("OUTBOX_LEASE_MS", options.lease, 500, ms_a_day / 24);
  visit("OUTBOX_STREAM_REPLICAS", options.stream_replicas, 1, 5);
  visit("OUTBOX_PARTITIONS", options.publisher.partitions, 1, Partition::most);
}

/// The value of an option, an int or a duration, in its own unit.
template <class Value>
std::int64_t number(Value value) {
  return value / Value{1};
}

void require(const std::string& name, std::int64_t value, std::int64_t min, std::int64_t max) {
  if (value < min || value > max)
    throw SettingError(name + "=" + std::to_string(value) + ": takes a whole number from " +
                       std::to_string(min) + " to " + std::to_string(max));
}

}  // namespace

OutboxProcessorOptions OutboxProcessorOptions::from_environment() {
  OutboxProcessorOptions options;
  visit_limits(options, []<class Value>(const char* name, Value& value, std::int64_t min, std::int64_t max) {
    value = static_cast<Value>(settings::integer_or(name, number(value), min, max));
  });
  options.backoff = Backoff::from_environment("OUTBOX_BACKOFF_BASE_MS", "OUTBOX_BACKOFF_MAX_MS");
  options.publisher.subject_prefix =
      settings::text_or("OUTBOX_SUBJECT_PREFIX", options.publisher.subject_prefix);
  options.publisher.stream = settings::text_or("OUTBOX_STREAM", options.publisher.stream);
  options.publisher.source = settings::text_or("OUTBOX_SOURCE", options.publisher.source);
  options.validate();
  return options;
}

void OutboxProcessorOptions::validate() const {
  visit_limits(*this, [](const char* name, const auto& value, std::int64_t min, std::int64_t max) {
    require(name, number(value), min, max);
  });
  require("OUTBOX_BACKOFF_BASE_MS", backoff.base.count(), 1, ms_a_day);
  require("OUTBOX_BACKOFF_MAX_MS", backoff.max.count(), backoff.base.count(), ms_a_day);
  if (const auto length = publisher.source.size(); length == 0 || length > longest_source)
    throw SettingError("OUTBOX_SOURCE has " + std::to_string(length) +
                       " bytes: takes the service's name, 1 to 255 bytes");
  require("ack_timeout", publisher.ack_timeout.count(), 1, ms_a_day / 24);
  if (!is_literal_subject(publisher.subject_prefix))
    throw SettingError("OUTBOX_SUBJECT_PREFIX=" + publisher.subject_prefix +
                       ": takes a subject without wildcards");
  // A stream there would answer what is asked of NATS, and be told what is answered.
  if (const auto& prefix = publisher.subject_prefix;
      prefix.front() == '$' || covers("_INBOX.>", prefix + ".>"))
    throw SettingError("OUTBOX_SUBJECT_PREFIX=" + prefix +
                       ": takes a subject of your own; those that begin with $ or _INBOX are NATS's");
  if (!is_stream_name(publisher.stream))
    throw SettingError("OUTBOX_STREAM=" + publisher.stream +
                       ": takes a name without spaces, dots, wildcards or slashes");
}

}  // namespace tidings
