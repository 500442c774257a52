#pragma once

// A consumer group is a durable on the server: a pull consumer shared by all instances (made when missing),
// or an existing push consumer with a deliver group, JetStream's classic queue group.

#include <tidings/consumer_options.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

struct Group {
  std::string stream;
  std::string durable;
  std::string deliver_subject;  ///< of a push consumer; empty for a pull consumer
  std::string deliver_group;
  std::chrono::milliseconds ack_wait{};
  // What the durable allows a pull to ask for.
  int max_request_batch = std::numeric_limits<int>::max();
  std::chrono::nanoseconds max_expires = std::chrono::nanoseconds::max();
  std::size_t max_request_bytes = std::numeric_limits<std::size_t>::max();

  [[nodiscard]] bool push() const noexcept { return !deliver_subject.empty(); }
};

/// What an instance sees of its group. Read by any thread.
struct GroupGauges {
  std::atomic<std::uint64_t> in_flight{0};  ///< handed to this instance and not settled
  std::atomic<std::uint64_t> lag{0};        ///< on the stream, and handed to no instance yet
};

/// What the server answers to a request for the durable's state.
struct GroupState {
  enum class Kind { unknown, deleted, present };
  Kind kind = Kind::unknown;  ///< unknown: nobody can tell at the moment, as while JetStream is electing
  std::string created{};      ///< when the durable was made, as the server writes it
  std::uint64_t num_pending = 0;

  [[nodiscard]] static GroupState parse(std::string_view answer);
};

/// Finds or makes the durable. Throws NatsError: retryable when JetStream does not answer; else naming what
/// does not fit (ack policy, deliver limit, headers only, filter, a push consumer without group). When it was
/// joined `before`, a pull consumer that is gone is made again, and someone else's push consumer is not; then
/// it is also an error when it is of the other kind now.
[[nodiscard]] Group join_group(Connection& connection, const ConsumerOptions& options,
                               const std::optional<Group>& before = {});

/// Logs a warning when the stream can hand out events again that are older than what the inbox remembers:
/// they would take effect a second time.
void warn_of_replay_beyond(Connection& connection, const ConsumerOptions& options);

}  // namespace tidings
