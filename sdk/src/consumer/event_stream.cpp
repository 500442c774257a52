#include "consumer/event_stream.hpp"

#include "nats/handle.hpp"
#include "nats/jetstream_request.hpp"
#include "nats/subject.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>

namespace tidings {

std::optional<EventStream> EventStream::look_up(Connection& connection, const std::string& name) {
  const auto action = "look up the stream " + name;
  nlohmann::json info;
  try {
    info = ask_jetstream(connection, "STREAM.INFO." + name, action);
  } catch (const NatsError&) {
    const auto concerns = [&name](std::string_view text) {
      return text.find(".STREAM.INFO." + name + '"') != std::string_view::npos;
    };
    if (connection.refusal(concerns).empty()) throw;
    return std::nullopt;
  }
  if (error_code(info) == JSStreamNotFoundErr)
    throw NatsError("the stream " + name + " does not exist yet", Error::Retry::yes);
  require_done(info, action);
  const auto& state = info.at("state");
  const auto& config = info.at("config");
  EventStream stream{.name = name,
                     .created = info.value("created", std::string{}),
                     .last_sequence = state.value("last_seq", std::uint64_t{0}),
                     .oldest = {},
                     .max_age = std::chrono::nanoseconds{config.value("max_age", std::int64_t{0})},
                     .subjects = stored_subjects(config),
                     .transform = transform_of(config),
                     .renames_subjects = tidings::renames_subjects(config),
                     // A time stamp came with several filters; there is no better sign (nats.c 3.4.1).
                     .several_filters = info.contains("ts")};
  if (state.value("messages", std::uint64_t{0}) > 0)
    stream.oldest = parse_timestamp(state.value("first_ts", std::string{}));
  return stream;
}

std::vector<std::string> subjects_held(Connection& connection, const std::string& stream,
                                       const std::string& subject) {
  const auto action = "look up the subjects of the stream " + stream;
  const auto info = ask_jetstream(connection, "STREAM.INFO." + stream, action,
                                  nlohmann::json{{"subjects_filter", subject}});
  require_done(info, action);
  std::vector<std::string> held;
  if (const auto counts = info.at("state").find("subjects");
      counts != info.at("state").end() && counts->is_object())
    for (const auto& [name, count] : counts->items()) held.push_back(name);
  return held;
}

void require_events(const EventStream& stream, const ConsumerOptions& options) {
  const auto wanted = options.subject_prefix + ".>";
  const bool any = std::ranges::any_of(stream.subjects,
                                       [&wanted](const auto& subject) { return overlaps(subject, wanted); });
  if (!any)
    throw NatsError("stream " + stream.name + " stores messages as " + list_of(stream.subjects) +
                    ", expected " + wanted + ": change the stream or the settings (OUTBOX_SUBJECT_PREFIX)");
}

void warn_of_transform(const EventStream& stream, const ConsumerOptions& options) {
  const auto wanted = options.subject_prefix + ".>";
  const auto& transform = stream.transform;
  if (transform && overlaps(transform->source, wanted) && !overlaps(transform->destination, wanted))
    spdlog::warn(
        "stream {} has subject_transform {} to {}, expected one below {}: the group {} does not get these",
        stream.name, transform->source, transform->destination, wanted, options.group);
}

void warn_of_replay_beyond(const EventStream& stream, const ConsumerOptions& options, Timestamp now) {
  using std::chrono::hours;
  const bool older_already = stream.oldest && now - *stream.oldest > options.inbox_retention;
  if (!older_already && stream.max_age <= options.inbox_retention) return;
  const auto kept = stream.max_age.count() > 0
                        ? std::to_string(std::chrono::duration_cast<hours>(stream.max_age).count()) + " h"
                        : "ever";
  spdlog::warn(
      "inbox_retention is {} h, and the stream {} keeps events for {}: if the group {} is made by hand at an "
      "earlier place, older ones take effect a second time",
      options.inbox_retention.count(), stream.name, kept, options.group);
}

std::uint64_t first_unsettled(const EventStream& stream, const ConsumerOptions& options,
                              const std::optional<Inbox::Position>& position, bool has_handled_events,
                              Timestamp now) {
  const bool same = position && position->stream_created == stream.created;
  // A stream that was restored from a backup may have lost its latest messages.
  if (same && position->settled_to <= stream.last_sequence) return position->settled_to + 1;
  const bool all_remembered = !stream.oldest || now - *stream.oldest < options.inbox_retention;
  if (!has_handled_events || all_remembered) return 0;
  throw NatsError(
      "the group " + options.group + " is gone from the stream " + stream.name +
      ", and its inbox does not know how far it had come; from the stream's beginning, events older "
      "than inbox_retention (" +
      std::to_string(options.inbox_retention.count()) +
      " h) would take effect a second time: make the group where it stood (`nats consumer add " +
      stream.name + " " + options.group +
      " --pull --ack=explicit --deliver=SEQUENCE`), or start with an empty inbox to have all of them");
}

}  // namespace tidings
