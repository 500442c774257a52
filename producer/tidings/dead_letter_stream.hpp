#pragma once

// The dead-letter stream as an operator sees it: reads it in order without a trace on the server, and takes
// letters out of it.

#include "jetstream_api.hpp"

#include <tidings/event.hpp>
#include <tidings/timestamp.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// Where consumers put dead letters, unless they are told otherwise.
inline constexpr const char* default_dead_letter_stream = "AUTH_DLQ";

struct DeadLetter {
  std::uint64_t sequence = 0;
  Timestamp stored{};
  std::string subject;
  Headers headers;
  std::string data;      ///< only of a letter that was asked for by its sequence
  std::size_t size = 0;  ///< of the data
  Event event;           ///< as far as it can be read; without its data

  // What a consumer of Tidings says of it. Empty or 0 in a message of somebody else.
  std::string group, reason, failed_at, original_stream, original_subject;
  int attempts = 0;
  std::uint64_t original_sequence = 0;
  std::uint64_t first_sequence = 0;  ///< of the event when it first was in its stream, before any redrive

  [[nodiscard]] bool written_by_consumer() const { return !group.empty() && !original_subject.empty(); }
};

/// What is not set matches every letter.
struct DeadLetterFilter {
  std::string group{};
  std::string type{};       ///< `user.created`, or `user.*`
  std::string aggregate{};  ///< its id, or `User/42`
  std::string reason{};     ///< a part of it
  std::optional<Timestamp> since{};

  [[nodiscard]] bool matches(const DeadLetter& letter) const;
  [[nodiscard]] bool empty() const;
};

class DeadLetterStream {
 public:
  /// Throws NatsError when there is no such stream.
  DeadLetterStream(JetStreamApi& api, std::string stream);

  /// Those that are there now, by sequence, without their data.
  void each(const DeadLetterFilter& filter, const std::function<void(DeadLetter&)>& visit);

  /// The whole letter; empty when there is none.
  [[nodiscard]] std::optional<DeadLetter> find(std::uint64_t sequence);

  /// False when it is gone already.
  bool remove(std::uint64_t sequence);

  /// Whether the letter's subject is that of the group that it names: subjects are what logins are limited
  /// to.
  [[nodiscard]] bool is_from_its_group(const DeadLetter& letter) const;

  [[nodiscard]] const std::string& stream() const noexcept { return stream_; }

 private:
  JetStreamApi& api_;
  const std::string stream_;
  std::vector<std::string> prefixes_;  // of its subjects, `auth.dlq.`
};

/// A message of a stream by its sequence, with its headers in `headers`; null when there is none.
struct StoredEvent {
  Headers headers;
  std::string data;
  std::string subject;
  Timestamp stored{};
};
[[nodiscard]] std::optional<StoredEvent> find_message(Connection& connection, const std::string& stream,
                                                      std::uint64_t sequence);

}  // namespace tidings
