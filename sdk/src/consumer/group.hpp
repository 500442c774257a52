#pragma once

// A consumer group is a durable on the server: a pull consumer shared by all instances (made when missing),
// or an existing push consumer with a deliver group, JetStream's classic queue group.

#include <tidings/consumer_options.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

class TypeFilter;

struct Group {
  std::string stream;
  std::string durable;
  std::string deliver_subject;  ///< of a push consumer; empty for a pull consumer
  std::string deliver_group;
  std::vector<std::string> filters;  ///< of subjects; none for all
  std::chrono::milliseconds ack_wait{};
  std::uint64_t settled_to = 0;  ///< every stream sequence up to here was settled when the group was joined
  /// What came before this was never the group's; empty when it began with all that the stream held.
  std::optional<Timestamp> begins{};
  // What the durable allows a pull to ask for.
  int max_request_batch = std::numeric_limits<int>::max();
  std::chrono::nanoseconds max_expires = std::chrono::nanoseconds::max();
  std::size_t max_request_bytes = std::numeric_limits<std::size_t>::max();

  [[nodiscard]] bool push() const noexcept { return !deliver_subject.empty(); }
};

/// What the server has lately refused to the group, in its words; empty for nothing. What was refused to
/// others that share the connection does not count.
[[nodiscard]] std::string refusal_of_group(const Connection& connection, std::string_view group);

/// What an instance sees of its group. Read by any thread.
struct GroupGauges {
  std::atomic<std::uint64_t> in_flight{0};  ///< handed to this instance and not settled
  std::atomic<std::uint64_t> held_keys{0};  ///< strict: that wait for a retry
  std::atomic<std::uint64_t> lag{0};        ///< on the stream, and handed to no instance yet
};

/// What the server answers to a request for the durable's state.
struct GroupState {
  enum class Kind { unknown, deleted, present };
  Kind kind = Kind::unknown;  ///< unknown: nobody can tell at the moment, as while JetStream is electing
  std::optional<Timestamp> created{};  ///< when the durable was made
  std::uint64_t num_pending = 0;
  std::uint64_t num_ack_pending = 0;     ///< handed out and not settled
  std::uint64_t consumer_sequence = 0;   ///< of what was handed out last
  std::uint64_t stream_sequence = 0;     ///< the highest that was handed out
  std::uint64_t settled_to = 0;          ///< every stream sequence up to here is settled
  std::chrono::milliseconds ack_wait{};  ///< 0: the answer does not say
  std::optional<std::vector<std::string>> filters{};

  [[nodiscard]] static GroupState parse(std::string_view answer);
};

/// Finds the durable, or makes it, and then it begins where make_group() says. One that Tidings has made
/// hands out what the filter asks for, and maybe more. Throws NatsError: retryable when JetStream does not
/// answer; else naming what does not fit (ack policy, deliver limit, headers only, filters, a push consumer
/// without group). When it was joined `before`, a pull consumer that is gone is made again, and someone
/// else's push consumer is not; then it is also an error when it is of the other kind now.
[[nodiscard]] Group join_group(Connection& connection, const ConsumerOptions& options,
                               const TypeFilter& filter, const std::optional<Group>& before = {},
                               const std::function<std::uint64_t()>& first_sequence = {});

}  // namespace tidings
