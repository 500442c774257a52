#include "consumer/group.hpp"

#include "consumer/make_group.hpp"
#include "consumer/type_filter.hpp"
#include "consumer/widen_group.hpp"
#include "nats/handle.hpp"
#include "nats/jetstream_request.hpp"
#include "nats/permission_errors.hpp"
#include "nats/stream_config.hpp"
#include "nats/subject.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace tidings {
namespace {

using nlohmann::json;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr int most_widenings = 5;  // others may do so at the same time

/// The durable's info; empty when there is no such durable.
json find(Connection& connection, const ConsumerOptions& options) {
  const auto action = "look up the group " + options.group + " on the stream " + options.stream;
  auto info = ask_jetstream(connection, "CONSUMER.INFO." + options.stream + "." + options.group, action);
  const auto code = error_code(info);
  if (code == JSConsumerNotFoundErr) return {};
  if (code == JSStreamNotFoundErr)
    throw NatsError("the stream " + options.stream + " does not exist yet", Error::Retry::yes);
  require_done(info, action);
  if (!info.contains("config"))
    throw NatsError("cannot " + action + ": the server is about to delete or replace it", Error::Retry::yes);
  return info;
}

/// After it was made.
json find_made(Connection& connection, const ConsumerOptions& options) {
  auto info = find(connection, options);
  if (info.empty())
    throw NatsError("the group " + options.group + " was gone right after it was made", Error::Retry::yes);
  return info;
}

std::string text(const json& config, const char* field) { return config.value(field, std::string{}); }

std::int64_t number(const json& config, const char* field) { return config.value(field, std::int64_t{0}); }

/// The beginning of an error or warning about a field of a durable.
std::string has(const ConsumerOptions& options, const std::string& field, const std::string& value,
                const std::string& expected) {
  return "group " + options.group + " on the stream " + options.stream + " has " + field + " " + value +
         ", expected " + expected + ": ";
}

void compare_filters(const json& is, const ConsumerOptions& options, const TypeFilter& filter) {
  const auto [field, subjects] = filters_of(is);
  const auto wanted = options.subject_prefix + ".>";
  if (!subjects.empty() &&
      std::ranges::none_of(subjects, [&](const auto& subject) { return overlaps(subject, wanted); }))
    throw NatsError(has(options, field, list_of(subjects), wanted) +
                    "change the consumer on the server or use another group");
  if (const auto missing = filter.missing_in(subjects); !missing.empty())
    throw NatsError(has(options, field, list_of(subjects), "what lets " + list_of(missing) + " through") +
                    "these events would be missed; change the consumer on the server, use another group, or "
                    "set CONSUMER_FILTER=whole_stream where subjects do not name types");
}

void compare(const json& is, const ConsumerOptions& options, const TypeFilter& filter) {
  const auto require = [&options](bool fits, const char* field, const std::string& value,
                                  const std::string& expected) {
    if (!fits)
      throw NatsError(has(options, field, value, expected) +
                      "change the consumer on the server or use another group");
  };
  const auto ack_policy = text(is, "ack_policy");
  require(ack_policy == "explicit", "ack_policy", ack_policy, "explicit");
  const auto max_deliver = number(is, "max_deliver");
  require(max_deliver <= 0, "max_deliver", std::to_string(max_deliver), "-1");
  // Every message would become a dead letter.
  require(!is.value("headers_only", false), "headers_only", "true", "false");
  compare_filters(is, options, filter);
  const auto deliver_subject = text(is, "deliver_subject");
  require(deliver_subject.empty() || !text(is, "deliver_group").empty(), "a deliver_subject",
          deliver_subject + " without deliver_group", "a pull consumer or a deliver_group");
}

std::string milliseconds_text(std::int64_t time) {
  return std::to_string(duration_cast<milliseconds>(nanoseconds{time}).count()) + " ms";
}

/// Tells of fields with which the group is served, but not as one may expect.
void warn(const json& is, const ConsumerOptions& options) {
  const auto warn_of = [&options](const char* field, const std::string& value, const std::string& expected,
                                  const char* what) {
    spdlog::warn("{}{}", has(options, field, value, expected), what);
  };
  if (const auto backoff = is.find("backoff"); backoff != is.end() && backoff->is_array()) {
    std::vector<std::string> times;
    for (const auto& time : *backoff) times.push_back(milliseconds_text(time.get<std::int64_t>()));
    if (!times.empty())
      warn_of(
          "backoff", list_of(times), "none",
          "the server adds it to the delay of each retry, and its first entry takes the place of ack_wait");
  }
  if (const auto threshold = number(is, "inactive_threshold"); threshold > 0)
    warn_of("inactive_threshold", milliseconds_text(threshold), "none",
            "the server deletes the group when no instance has run for that long");
  if (text(is, "replay_policy") == "original")
    warn_of("replay_policy", "original", "instant", "events come as slowly as they were published");
  if (is.value("mem_storage", false))
    warn_of("mem_storage", "true", "false", "a server that restarts forgets how far the group has come");
}

/// The server writes 0, or less, for what is not limited.
template <class Limit>
Limit limit(int64_t value) {
  return value > 0 ? Limit(value) : std::numeric_limits<Limit>::max();
}

std::uint64_t ack_floor(const json& info) {
  const auto floor = info.find("ack_floor");
  return floor != info.end() && floor->is_object() ? floor->value("stream_seq", std::uint64_t{0}) : 0;
}

std::uint64_t delivered(const json& info, const char* sequence) {
  const auto last = info.find("delivered");
  return last != info.end() && last->is_object() ? last->value(sequence, std::uint64_t{0}) : 0;
}

milliseconds read_ack_wait(const json& config) {
  return duration_cast<milliseconds>(nanoseconds{number(config, "ack_wait")});
}

std::optional<Timestamp> beginning(const json& info) {
  const auto& config = info.at("config");
  const auto policy = text(config, "deliver_policy");
  if (policy == "new") return parse_timestamp(text(info, "created"));
  if (policy == "by_start_time") return parse_timestamp(text(config, "opt_start_time"));
  return std::nullopt;
}

Group describe(const json& info, const ConsumerOptions& options, const TypeFilter& filter) {
  const auto& config = info.at("config");
  compare(config, options, filter);
  return {.stream = options.stream,
          .durable = options.group,
          .deliver_subject = text(config, "deliver_subject"),
          .deliver_group = text(config, "deliver_group"),
          .filters = filters_of(config).subjects,
          .ack_wait = read_ack_wait(config),
          .settled_to = ack_floor(info),
          .begins = beginning(info),
          .max_request_batch = limit<int>(number(config, "max_batch")),
          .max_expires = nanoseconds{limit<nanoseconds::rep>(number(config, "max_expires"))},
          .max_request_bytes = limit<std::size_t>(number(config, "max_bytes"))};
}

/// A strict group's owner keeps all that is open, extended within its lease.
json fit_to_order(Connection& connection, const ConsumerOptions& options, json info) {
  auto config = info.at("config");
  if (!text(config, "deliver_subject").empty())
    throw NatsError("the group " + options.group +
                    " is a push consumer: Order::strict takes a pull consumer");
  if (read_ack_wait(config) == options.ack_wait &&
      number(config, "max_ack_pending") == options.max_ack_pending)
    return info;
  if (!options.manage_streams)
    throw NatsError("the group " + options.group + " needs ack_wait " +
                    milliseconds_text(nanoseconds{options.ack_wait}.count()) + " and max_ack_pending " +
                    std::to_string(options.max_ack_pending) +
                    " for Order::strict: change it, or let the consumer do so (manage_streams)");
  spdlog::info("group={}: ack_wait {} and max_ack_pending {} become {} and {}, for its strict order",
               options.group, milliseconds_text(number(config, "ack_wait")),
               number(config, "max_ack_pending"), milliseconds_text(nanoseconds{options.ack_wait}.count()),
               options.max_ack_pending);
  config["ack_wait"] = nanoseconds{options.ack_wait}.count();
  config["max_ack_pending"] = options.max_ack_pending;
  put_group(connection, options, config);
  return find_made(connection, options);
}

/// Others publish as well: events, and to what has their group's name in it.
bool is_of_others(std::string_view refusal, std::string_view group) {
  if (refusal.find(" Publish ") == std::string_view::npos) return false;
  auto subject = refused_subject(refusal);
  if (subject.find(".STREAM.") != std::string_view::npos) return false;
  while (!subject.empty())
    if (take_token(subject) == group) return false;
  return true;
}

}  // namespace

std::string refusal_of_group(const Connection& connection, std::string_view group) {
  return connection.refusal([group](std::string_view text) { return !is_of_others(text, group); });
}

GroupState GroupState::parse(std::string_view answer) {
  const auto state = json::parse(answer, nullptr, false);
  if (!state.is_object()) return {};  // an empty answer means that nobody serves it: JetStream is electing
  if (const auto error = state.find("error"); error != state.end()) {
    const int code = error->value("err_code", 0);
    const bool gone = code == JSConsumerNotFoundErr || code == JSStreamNotFoundErr;
    return {.kind = gone ? Kind::deleted : Kind::unknown};
  }
  const auto config = state.find("config");
  if (config == state.end()) return {};  // about to be deleted or replaced
  return {.kind = Kind::present,
          .created = parse_timestamp(state.value("created", std::string{})),
          .num_pending = state.value("num_pending", std::uint64_t{0}),
          .num_ack_pending = state.value("num_ack_pending", std::uint64_t{0}),
          .consumer_sequence = delivered(state, "consumer_seq"),
          .stream_sequence = delivered(state, "stream_seq"),
          .settled_to = ack_floor(state),
          .ack_wait = read_ack_wait(*config),
          .filters = filters_of(*config).subjects};
}

Group join_group(Connection& connection, const ConsumerOptions& options, const TypeFilter& filter,
                 const std::optional<Group>& before, const std::function<std::uint64_t()>& first_sequence) {
  auto info = find(connection, options);
  if (info.empty() && before && before->push())
    throw NatsError(
        "the push consumer " + options.group + " on the stream " + options.stream +
        " was deleted while this consumer ran: make it again, or start this consumer again to have "
        "a pull consumer made");
  if (info.empty() && !options.manage_streams)
    throw NatsError("the group " + options.group + " does not exist on the stream " + options.stream +
                    ": make it, or let the consumer do so (manage_streams)");
  if (info.empty()) {
    make_group(connection, options, subjects_for(connection, options, filter),
               first_sequence ? first_sequence() : 0,
               {.known = before.has_value(), .began = before ? before->begins : std::nullopt});
    info = find_made(connection, options);
  }
  for (int left = most_widenings; widen_group(connection, options, info, filter);
       info = find_made(connection, options))
    if (--left == 0)
      throw NatsError("the filter of the group " + options.group + " keeps changing", Error::Retry::yes);
  if (options.order == ConsumerOptions::Order::strict)
    info = fit_to_order(connection, options, std::move(info));
  auto group = describe(info, options, filter);
  // What a dead owner has asked for takes messages until then.
  if (options.order == ConsumerOptions::Order::strict)
    group.max_expires = std::min<nanoseconds>(group.max_expires, options.lease / 2);
  if (before && !group.begins) group.begins = before->begins;
  if (before &&
      (group.deliver_subject != before->deliver_subject || group.deliver_group != before->deliver_group))
    throw NatsError("the group " + group.durable +
                    " was changed between pull and push while this consumer ran: start it again");
  if (before) return group;
  warn(info.at("config"), options);
  if (!filter.all() && !covers_all(subjects_for(connection, options, filter), group.filters))
    spdlog::info("the group {} on the stream {} hands out more than types with handlers: {} {}",
                 options.group, options.stream, filters_of(info.at("config")).field, list_of(group.filters));
  return group;
}

}  // namespace tidings
