#pragma once

// Looks at the group's state on the server now and then: its lag, whether it is there at all, and whether
// events that wait for a retry are about to use up its max_ack_pending. The answers come like messages:
// nobody waits for them.

#include "consumer/group.hpp"
#include "consumer/waiting_events.hpp"

#include <tidings/connection.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// What is seen of the group from here. Read by any thread.
struct GroupGauges {
  std::atomic<std::uint64_t> in_flight{0};  ///< handed to this instance and not settled
  std::atomic<std::uint64_t> lag{0};        ///< on the stream, and handed to no instance yet
};

/// The server's answer to a look at the durable.
struct GroupState {
  enum class Kind { unknown, deleted, present };
  Kind kind = Kind::unknown;  ///< unknown: nobody knows at the moment, as while JetStream is electing
  std::string created{};      ///< when the durable was made, as the server writes it
  std::uint64_t num_pending = 0, num_ack_pending = 0;

  [[nodiscard]] static GroupState parse(std::string_view answer);
};

class GroupWatch {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class News { none, deleted, made_again };

  /// Has the answers sent to the subject `answers`.
  GroupWatch(Connection& connection, std::string answers, GroupGauges& gauges)
      : connection_(connection), answers_(std::move(answers)), gauges_(gauges) {}

  void ask_if_due(const Group& group, Time now);
  void ask_soon() noexcept { ask_again_ = {}; }
  [[nodiscard]] Time asks_again() const noexcept { return ask_again_; }

  /// Reads an answer, as it came.
  [[nodiscard]] News read(std::string_view answer, const Group& group);
  /// Forgets when the durable was made.
  void forget() noexcept { created_.reset(); }

  /// An event was given back, to come again after `delay`.
  void on_delayed(std::chrono::milliseconds delay, const Group& group);

 private:
  void warn_of_waiting_events(const Group& group);

  Connection& connection_;
  std::string answers_;
  GroupGauges& gauges_;
  Time ask_again_{};
  std::optional<std::string> created_;
  WaitingEvents waiting_;
  std::uint64_t num_ack_pending_ = 0;  // of the group, when last seen
};

}  // namespace tidings
