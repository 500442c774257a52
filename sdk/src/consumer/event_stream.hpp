#pragma once

// The stream that a group reads from: whether it holds what the group is for, and where on it a group begins
// that has to be made.

#include "inbox/inbox.hpp"
#include "nats/stream_config.hpp"

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

struct EventStream {
  std::string name;
  std::string created;  ///< as the server writes it: it tells streams of one name apart
  std::uint64_t last_sequence = 0;
  std::optional<Timestamp> oldest;     ///< when the first of its messages was stored; empty when it has none
  std::chrono::nanoseconds max_age{};  ///< 0: it keeps them for ever
  std::vector<std::string> subjects;   ///< under which messages are stored, with wildcards
  std::optional<SubjectTransform> transform;
  bool renames_subjects = false;  ///< those of messages may not be as they were published
  bool several_filters = false;   ///< its server takes several for a durable (2.10)

  /// Empty when this user has no right to look it up. Throws NatsError, retryable when it does not answer or
  /// does not exist.
  [[nodiscard]] static std::optional<EventStream> look_up(Connection& connection, const std::string& name);
};

/// The subjects of messages that the stream holds, of those that match. Throws NatsError.
[[nodiscard]] std::vector<std::string> subjects_held(Connection& connection, const std::string& stream,
                                                     const std::string& subject);

/// Throws NatsError when no message below the subject prefix can be in the stream.
void require_events(const EventStream& stream, const ConsumerOptions& options);

/// Logs a warning when the stream stores some of those messages under other subjects.
void warn_of_transform(const EventStream& stream, const ConsumerOptions& options);

/// Logs a warning when the stream can hand out events again that are older than what the inbox remembers:
/// they would take effect a second time.
void warn_of_replay_beyond(const EventStream& stream, const ConsumerOptions& options, Timestamp now);

/// The sequence at which a group begins that has to be made: behind what the inbox knows to be settled. 0
/// when it knows nothing, and the options decide. Throws NatsError when the group has handled events, nobody
/// knows how far it had come, and events of the stream may be older than what the inbox remembers.
[[nodiscard]] std::uint64_t first_unsettled(const EventStream& stream, const ConsumerOptions& options,
                                            const std::optional<Inbox::Position>& position,
                                            bool has_handled_events, Timestamp now);

}  // namespace tidings
