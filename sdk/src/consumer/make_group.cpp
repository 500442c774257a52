#include "consumer/make_group.hpp"

#include "nats/jetstream_request.hpp"
#include "nats/stream_config.hpp"

#include <spdlog/spdlog.h>

#include <chrono>

namespace tidings {
namespace {

using nlohmann::json;
using std::chrono::nanoseconds;

json stream_state(Connection& connection, const ConsumerOptions& options) {
  const auto action = "look up the stream " + options.stream;
  const auto info = ask_jetstream(connection, "STREAM.INFO." + options.stream, action);
  require_done(info, action);
  return info.at("state");
}

json config_of(const ConsumerOptions& options, const std::vector<std::string>& filters) {
  json config{{"durable_name", options.group},
              {"ack_policy", "explicit"},
              // By default a group that joins late still gets what the stream holds.
              {"deliver_policy", "all"},
              {"replay_policy", "instant"},
              {"ack_wait", nanoseconds{options.ack_wait}.count()},
              // The inbox counts attempts; the server's limit would drop without a dead letter.
              {"max_deliver", -1},
              // A message that waits for its retry counts as pending until it is settled (nats-server #6093).
              {"max_ack_pending", options.max_ack_pending}};
  set_filters(config, filters);
  if (filters != std::vector{options.subject_prefix + ".>"}) config["description"] = follows_types;
  return config;
}

/// nats-server 2.9.10 leaves out the stream's last message when it is the only one stored since `time`. So a
/// group that begins with the last message, or after it, is made to begin at a sequence instead.
void add_since(Connection& connection, const ConsumerOptions& options, json& config, Timestamp time) {
  const auto state = stream_state(connection, options);
  const auto last = state.value("last_seq", std::uint64_t{0});
  const auto stored = parse_timestamp(state.value("last_ts", std::string{}));
  const bool any_since = state.value("messages", std::uint64_t{0}) > 0 && stored && *stored >= time;
  config["deliver_policy"] = "by_start_time";
  config["opt_start_time"] = to_iso8601(time);
  if (!any_since && time <= now()) begin_at(config, last + 1);
  const auto info = put_group(connection, options, config);
  if (!any_since || info.at("delivered").value("stream_seq", std::uint64_t{0}) < last) return;
  delete_group(connection, options, "which begins too late");
  begin_at(config, last);
  put_group(connection, options, config);
}

/// The group gets what was stored from this time on; empty when it does not begin at a time.
std::optional<Timestamp> begins(const Start& start, const GroupBefore& before) {
  if (before.began) return before.began;
  return start.at == Start::At::since ? std::optional{start.time} : std::nullopt;
}

}  // namespace

void set_filters(json& config, const std::vector<std::string>& filters) {
  config.erase("filter_subject");
  config.erase("filter_subjects");
  if (filters.size() == 1)
    config["filter_subject"] = filters.front();
  else
    config["filter_subjects"] = filters;
}

void begin_at(json& config, std::uint64_t sequence) {
  config["deliver_policy"] = "by_start_sequence";
  config["opt_start_seq"] = sequence;
  config.erase("opt_start_time");
}

json put_group(Connection& connection, const ConsumerOptions& options, const json& config) {
  const auto action = "make the group " + options.group + " on the stream " + options.stream;
  auto info =
      ask_jetstream(connection, "CONSUMER.DURABLE.CREATE." + options.stream + "." + options.group, action,
                    json{{"stream_name", options.stream}, {"config", config}}, change_timeout);
  require_done(info, action);
  return info;
}

void delete_group(Connection& connection, const ConsumerOptions& options, const std::string& why) {
  const auto action = "delete the group " + options.group + ", " + why + ", to make it again";
  const auto request = "CONSUMER.DELETE." + options.stream + "." + options.group;
  require_done(ask_jetstream(connection, request, action, {}, change_timeout), action);
}

void make_group(Connection& connection, const ConsumerOptions& options,
                const std::vector<std::string>& filters, std::uint64_t first_sequence,
                const GroupBefore& before) {
  auto config = config_of(options, filters);
  if (options.start.at == Start::At::now && !before.known) config["deliver_policy"] = "new";
  const auto time = begins(options.start, before);
  if (first_sequence > 0) begin_at(config, first_sequence);
  if (time && first_sequence == 0)
    add_since(connection, options, config, *time);
  else
    put_group(connection, options, config);
  spdlog::info("made group={} stream={} filter={} from={}", options.group, options.stream, list_of(filters),
               first_sequence);
}

}  // namespace tidings
