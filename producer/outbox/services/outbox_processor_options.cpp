#include <tidings/error.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/settings.hpp>

#include <cstdint>
#include <type_traits>

namespace tidings {
namespace {

using std::chrono::milliseconds;

/// Not deduced, so that a limit may be written in another unit than its option.
template <class Value>
using Limit = std::type_identity_t<Value>;

/// Calls `visit(setting, value, min, max)` for every option that has limits: the one place that states them.
template <class Options, class Visit>
void visit_limits(Options& options, Visit&& visit) {
  using std::chrono::hours;
  visit("OUTBOX_PROCESSING_INTERVAL_MS", options.processing_interval, milliseconds{10}, hours{24});
  visit("OUTBOX_CLEANUP_INTERVAL_MS", options.cleanup_interval, milliseconds{10}, hours{24 * 30});
  visit("OUTBOX_RETENTION_DAYS", options.retention, std::chrono::days{0}, std::chrono::days{36500});
  visit("OUTBOX_MAX_RETRIES", options.max_retries, 1, 1000);
  visit("OUTBOX_BATCH_SIZE", options.batch_size, 1, 100000);
  visit("OUTBOX_LEASE_MS", options.lease, milliseconds{500}, hours{1});
  visit("OUTBOX_STREAM_REPLICAS", options.stream_replicas, 1, 5);
}

/// A limit or value as it is written in its setting.
template <class Value>
constexpr std::int64_t number(Value value) {
  if constexpr (std::is_integral_v<Value>)
    return value;
  else
    return value.count();
}

void require(const std::string& name, std::int64_t value, std::int64_t min, std::int64_t max) {
  if (value < min || value > max)
    throw SettingError(name + "=" + std::to_string(value) + ": takes a whole number from " +
                       std::to_string(min) + " to " + std::to_string(max));
}

}  // namespace

OutboxProcessorOptions OutboxProcessorOptions::from_environment() {
  OutboxProcessorOptions options;
  visit_limits(options, []<class Value>(const char* name, Value& value, Limit<Value> min, Limit<Value> max) {
    value = static_cast<Value>(settings::integer_or(name, number(value), number(min), number(max)));
  });
  options.backoff = Backoff::from_environment("OUTBOX_BACKOFF_BASE_MS", "OUTBOX_BACKOFF_MAX_MS");
  options.publisher.subject_prefix =
      settings::text_or("OUTBOX_SUBJECT_PREFIX", options.publisher.subject_prefix);
  options.publisher.stream = settings::text_or("OUTBOX_STREAM", options.publisher.stream);
  return options;
}

void OutboxProcessorOptions::validate() const {
  visit_limits(*this,
               []<class Value>(const char* name, const Value& value, Limit<Value> min, Limit<Value> max) {
                 require(name, number(value), number(min), number(max));
               });
  constexpr auto longest_delay = number(milliseconds{std::chrono::hours{24}});
  require("OUTBOX_BACKOFF_BASE_MS", backoff.base.count(), 1, longest_delay);
  require("OUTBOX_BACKOFF_MAX_MS", backoff.max.count(), backoff.base.count(), longest_delay);
  require("ack_timeout", publisher.ack_timeout.count(), 1, number(milliseconds{std::chrono::hours{1}}));
}

}  // namespace tidings
