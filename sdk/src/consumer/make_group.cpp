#include "consumer/make_group.hpp"

#include "nats/handle.hpp"

#include <spdlog/spdlog.h>

#include <chrono>

namespace tidings {
namespace {

using std::chrono::duration_cast;
using std::chrono::nanoseconds;

StreamInfoPtr stream_info(Connection& connection, const ConsumerOptions& options) {
  jsStreamInfo* info = nullptr;
  jsErrCode code{};
  const auto status = js_GetStreamInfo(&info, jetstream(connection), options.stream.c_str(), nullptr, &code);
  check(status, "look up the stream " + options.stream, code);
  return StreamInfoPtr{info};
}

ConsumerInfoPtr add(Connection& connection, const ConsumerOptions& options, jsConsumerConfig& config) {
  jsConsumerInfo* info = nullptr;
  jsErrCode code{};
  const auto status =
      js_AddConsumer(&info, jetstream(connection), options.stream.c_str(), &config, nullptr, &code);
  check(status, "make the group " + options.group + " on the stream " + options.stream, code);
  return ConsumerInfoPtr{info};
}

void begin_at(jsConsumerConfig& config, std::uint64_t sequence) {
  config.DeliverPolicy = js_DeliverByStartSequence;
  config.OptStartSeq = sequence;
  config.OptStartTime = 0;
}

/// nats-server 2.9.10 leaves out the stream's last message when it is the only one stored since `time`. So a
/// group that begins with the last message, or after it, is made to begin at a sequence instead.
void add_since(Connection& connection, const ConsumerOptions& options, jsConsumerConfig& config,
               Timestamp time) {
  const auto nanos = duration_cast<nanoseconds>(time.time_since_epoch()).count();
  const auto stream = stream_info(connection, options);
  const auto& state = stream->State;
  const bool any_since = state.Msgs > 0 && state.LastTime >= nanos;
  config.DeliverPolicy = js_DeliverByStartTime;
  config.OptStartTime = nanos;
  if (!any_since && time <= now()) begin_at(config, state.LastSeq + 1);
  const auto info = add(connection, options, config);
  if (!any_since || info->Delivered.Stream < state.LastSeq) return;
  jsErrCode code{};
  check(
      js_DeleteConsumer(jetstream(connection), options.stream.c_str(), options.group.c_str(), nullptr, &code),
      "delete the group " + options.group + ", which begins too late, to make it again", code);
  begin_at(config, state.LastSeq);
  add(connection, options, config);
}

/// The group gets what was stored from this time on; empty when it does not begin at a time.
std::optional<Timestamp> begins(const Start& start, const GroupBefore& before) {
  if (before.began) return before.began;
  return start.at == Start::At::since ? std::optional{start.time} : std::nullopt;
}

}  // namespace

void make_group(Connection& connection, const ConsumerOptions& options, std::uint64_t first_sequence,
                const GroupBefore& before) {
  const auto subject = options.subject_prefix + ".>";
  jsConsumerConfig config;
  jsConsumerConfig_Init(&config);
  config.Durable = options.group.c_str();
  config.AckPolicy = js_AckExplicit;
  // By default a group that joins late still gets what the stream holds.
  const bool only_new = options.start.at == Start::At::now && !before.known;
  config.DeliverPolicy = only_new ? js_DeliverNew : js_DeliverAll;
  config.AckWait = duration_cast<nanoseconds>(options.ack_wait).count();
  config.MaxDeliver = -1;  // the inbox counts attempts; the server's limit would drop without a dead letter
  // A message that waits for its retry counts as pending until it is settled (nats-server #6093).
  config.MaxAckPending = options.max_ack_pending;
  config.FilterSubject = subject.c_str();
  const auto time = begins(options.start, before);
  if (first_sequence > 0) begin_at(config, first_sequence);
  if (time && first_sequence == 0)
    add_since(connection, options, config, *time);
  else
    add(connection, options, config);
  spdlog::info("made group={} stream={} filter={} from={}", options.group, options.stream, subject,
               first_sequence);
}

}  // namespace tidings
