#include "consumer/group.hpp"

#include "nats/handle.hpp"
#include "nats/native.hpp"
#include "nats/subject.hpp"

#include <spdlog/spdlog.h>

#include <limits>

namespace tidings {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// A message that waits for its retry counts as pending until it is settled (nats-server #6093).
constexpr int64_t max_ack_pending = 20000;

std::string filter(const ConsumerOptions& options) { return options.subject_prefix + ".>"; }

ConsumerInfoPtr find(Connection& connection, const ConsumerOptions& options) {
  jsOptions lookup;
  jsOptions_Init(&lookup);
  lookup.Wait = 1000;  // without a leader nobody answers: asking again is better than waiting
  jsConsumerInfo* info = nullptr;
  jsErrCode code{};
  const auto status = js_GetConsumerInfo(&info, jetstream(connection), options.stream.c_str(),
                                         options.group.c_str(), &lookup, &code);
  if (code == JSConsumerNotFoundErr) return nullptr;
  if (code == JSStreamNotFoundErr)
    throw NatsError("the stream " + options.stream + " does not exist yet", Error::Retry::yes);
  check(status, "look up the group " + options.group + " on the stream " + options.stream, code);
  return ConsumerInfoPtr{info};
}

ConsumerInfoPtr make(Connection& connection, const ConsumerOptions& options) {
  const auto subject = filter(options);
  jsConsumerConfig config;
  jsConsumerConfig_Init(&config);
  config.Durable = options.group.c_str();
  config.AckPolicy = js_AckExplicit;
  config.DeliverPolicy = js_DeliverAll;  // a group that joins late still gets what the stream holds
  config.AckWait = duration_cast<nanoseconds>(options.ack_wait).count();
  config.MaxDeliver = -1;  // the inbox counts attempts; the server's limit would drop without a dead letter
  config.MaxAckPending = max_ack_pending;
  config.FilterSubject = subject.c_str();
  jsConsumerInfo* info = nullptr;
  jsErrCode code{};
  const auto status =
      js_AddConsumer(&info, jetstream(connection), options.stream.c_str(), &config, nullptr, &code);
  check(status, "make the group " + options.group + " on the stream " + options.stream, code);
  spdlog::info("made group={} stream={} filter={}", options.group, options.stream, subject);
  return ConsumerInfoPtr{info};
}

[[noreturn]] void differs(const ConsumerOptions& options, const std::string& field, const std::string& is,
                          const std::string& wanted) {
  throw NatsError("group " + options.group + " on the stream " + options.stream + " has " + field + " " + is +
                  ", needed is " + wanted + ": change the consumer on the server or use another group");
}

void compare(const jsConsumerConfig& is, const ConsumerOptions& options) {
  if (is.AckPolicy != js_AckExplicit)
    differs(options, "ack_policy", is.AckPolicy == js_AckNone ? "none" : "all", "explicit");
  if (is.MaxDeliver > 0) differs(options, "max_deliver", std::to_string(is.MaxDeliver), "-1");
  if (is.HeadersOnly)
    differs(options, "headers_only", "true", "false");  // every message would become a dead letter
  if (is.FilterSubject != nullptr && *is.FilterSubject != '\0' &&
      !covers(is.FilterSubject, filter(options)) && !covers(filter(options), is.FilterSubject))
    differs(options, "filter_subject", is.FilterSubject, filter(options));
  const bool push = is.DeliverSubject != nullptr && *is.DeliverSubject != '\0';
  if (push && (is.DeliverGroup == nullptr || *is.DeliverGroup == '\0'))
    differs(options, "a deliver_subject", std::string(is.DeliverSubject) + " without deliver_group",
            "a pull consumer or a deliver_group");
}

std::string text(const char* value) { return value == nullptr ? std::string{} : std::string{value}; }

template <class Number>
Number limit(int64_t value) {
  return value > 0 ? Number(value) : std::numeric_limits<Number>::max();
}

Group describe(const jsConsumerConfig& config, const ConsumerOptions& options) {
  compare(config, options);
  return {options.stream,
          options.group,
          text(config.DeliverSubject),
          text(config.DeliverGroup),
          duration_cast<milliseconds>(nanoseconds{config.AckWait}),
          limit<int>(config.MaxRequestBatch),
          config.MaxRequestExpires > 0 ? nanoseconds{config.MaxRequestExpires} : nanoseconds::max(),
          limit<std::size_t>(config.MaxRequestMaxBytes),
          limit<std::uint64_t>(config.MaxAckPending)};
}

Group unless_changed(const Group& before, Group now) {
  if (now.deliver_subject != before.deliver_subject || now.deliver_group != before.deliver_group)
    throw NatsError("the group " + now.durable +
                    " was changed between pull and push while this consumer ran: start it again");
  return now;
}

}  // namespace

Group join_group(Connection& connection, const ConsumerOptions& options) {
  auto info = find(connection, options);
  if (!info && !options.manage_streams)
    throw NatsError("the group " + options.group + " does not exist on the stream " + options.stream +
                    ": make it, or let the consumer do so (manage_streams)");
  if (!info) info = make(connection, options);
  return describe(*info->Config, options);
}

Group join_group_again(Connection& connection, const ConsumerOptions& options, const Group& before) {
  if (!before.push()) return unless_changed(before, join_group(connection, options));
  const auto info = find(connection, options);
  if (!info)
    throw NatsError(
        "the push consumer " + options.group + " on the stream " + options.stream +
        " was deleted while this consumer ran: make it again, or start this consumer again to have "
        "a pull consumer made");
  return unless_changed(before, describe(*info->Config, options));
}

void warn_of_replay_beyond(Connection& connection, const ConsumerOptions& options) {
  jsStreamInfo* raw = nullptr;
  if (js_GetStreamInfo(&raw, jetstream(connection), options.stream.c_str(), nullptr, nullptr) != NATS_OK)
    return;
  const StreamInfoPtr info{raw};
  const auto age = std::chrono::system_clock::now().time_since_epoch() - nanoseconds{info->State.FirstTime};
  const bool older_already = info->State.Msgs > 0 && age > options.inbox_retention;
  const nanoseconds max_age{info->Config->MaxAge};
  if (older_already || max_age > options.inbox_retention)
    spdlog::warn(
        "inbox_retention is {} h, and the stream {} keeps events for {}: should the group {} be made "
        "anew, they would take effect again",
        options.inbox_retention.count(), options.stream,
        max_age.count() > 0 ? std::to_string(duration_cast<std::chrono::hours>(max_age).count()) + " h"
                            : "ever",
        options.group);
}

}  // namespace tidings
