#include "consumer/group.hpp"

#include "nats/handle.hpp"
#include "nats/subject.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

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

std::string text(const char* value) { return value == nullptr ? std::string{} : std::string{value}; }

void compare(const jsConsumerConfig& is, const ConsumerOptions& options) {
  const auto require = [&options](bool fits, const char* field, const std::string& value,
                                  const std::string& expected) {
    if (!fits)
      throw NatsError("group " + options.group + " on the stream " + options.stream + " has " + field + " " +
                      value + ", expected " + expected +
                      ": change the consumer on the server or use another group");
  };
  require(is.AckPolicy == js_AckExplicit, "ack_policy", is.AckPolicy == js_AckNone ? "none" : "all",
          "explicit");
  require(is.MaxDeliver <= 0, "max_deliver", std::to_string(is.MaxDeliver), "-1");
  require(!is.HeadersOnly, "headers_only", "true", "false");  // every message would become a dead letter
  const auto wanted = filter(options), filtered = text(is.FilterSubject);
  require(filtered.empty() || covers(filtered, wanted) || covers(wanted, filtered), "filter_subject",
          filtered, wanted);
  const auto deliver_subject = text(is.DeliverSubject);
  require(deliver_subject.empty() || !text(is.DeliverGroup).empty(), "a deliver_subject",
          deliver_subject + " without deliver_group", "a pull consumer or a deliver_group");
}

/// What is not limited has 0 on the server.
template <class Limit>
Limit limit(int64_t value) {
  return value > 0 ? Limit(value) : std::numeric_limits<Limit>::max();
}

Group describe(const jsConsumerConfig& config, const ConsumerOptions& options) {
  compare(config, options);
  return {.stream = options.stream,
          .durable = options.group,
          .deliver_subject = text(config.DeliverSubject),
          .deliver_group = text(config.DeliverGroup),
          .ack_wait = duration_cast<milliseconds>(nanoseconds{config.AckWait}),
          .max_request_batch = limit<int>(config.MaxRequestBatch),
          .max_expires = nanoseconds{limit<nanoseconds::rep>(config.MaxRequestExpires)},
          .max_request_bytes = limit<std::size_t>(config.MaxRequestMaxBytes)};
}

}  // namespace

GroupState GroupState::parse(std::string_view answer) {
  const auto state = nlohmann::json::parse(answer, nullptr, false);
  if (!state.is_object()) return {};  // empty from nobody: JetStream is electing
  if (const auto error = state.find("error"); error != state.end()) {
    const int code = error->value("err_code", 0);
    const bool gone = code == JSConsumerNotFoundErr || code == JSStreamNotFoundErr;
    return {.kind = gone ? Kind::deleted : Kind::unknown};
  }
  return {.kind = Kind::present,
          .created = state.value("created", std::string{}),
          .num_pending = state.value("num_pending", std::uint64_t{0})};
}

Group join_group(Connection& connection, const ConsumerOptions& options, const std::optional<Group>& before) {
  auto info = find(connection, options);
  if (!info && before && before->push())
    throw NatsError(
        "the push consumer " + options.group + " on the stream " + options.stream +
        " was deleted while this consumer ran: make it again, or start this consumer again to have "
        "a pull consumer made");
  if (!info && !options.manage_streams)
    throw NatsError("the group " + options.group + " does not exist on the stream " + options.stream +
                    ": make it, or let the consumer do so (manage_streams)");
  if (!info) info = make(connection, options);
  auto group = describe(*info->Config, options);
  if (before &&
      (group.deliver_subject != before->deliver_subject || group.deliver_group != before->deliver_group))
    throw NatsError("the group " + group.durable +
                    " was changed between pull and push while this consumer ran: start it again");
  return group;
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
        "inbox_retention is {} h, and the stream {} keeps events for {}: if the group {} is made again, "
        "older ones take effect a second time",
        options.inbox_retention.count(), options.stream,
        max_age.count() > 0 ? std::to_string(duration_cast<std::chrono::hours>(max_age).count()) + " h"
                            : "ever",
        options.group);
}

}  // namespace tidings
