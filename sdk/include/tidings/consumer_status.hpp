#pragma once

// What a consumer says of itself: whether it works, and how much it has done.

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

namespace tidings {

/// Whether the consumer does its work, for a health check: ready when it runs.
struct ConsumerStatus {
  enum class State {
    stopped,
    joining,
    running,
    waiting,
    draining,
    paused,
    standby  ///< Order::strict: another instance of the group handles its events
  };
  State state = State::stopped;
  /// While waiting: what it waits for (NATS, the inbox, a worker, what handlers need). While running: which
  /// handlers wait for something that they have thrown Unavailable for; others go on.
  std::string reason{};
  std::chrono::system_clock::time_point since{};

  /// A standby is, too: it does all that there is to do.
  [[nodiscard]] bool ready() const noexcept { return state == State::running || state == State::standby; }
};

/// Counts of one type of events, as those of ConsumerStats.
struct TypeStats {
  std::uint64_t handled = 0, retried = 0, unavailable = 0, dead_lettered = 0, ignored = 0;
};

/// Counts since the consumer was built, and figures of now.
struct ConsumerStats {
  std::uint64_t received = 0;     ///< messages taken from the stream, redeliveries included
  std::uint64_t handled = 0;      ///< handler succeeded and its transaction is committed
  std::uint64_t duplicates = 0;   ///< id was in the inbox: acked without a second effect
  std::uint64_t retried = 0;      ///< handler failed, will be redelivered
  std::uint64_t unavailable = 0;  ///< handler threw Unavailable: given back, no attempt used
  std::uint64_t paused = 0;       ///< given back unstarted: their handler waits for what is unavailable
  std::uint64_t held_back = 0;    ///< given back unstarted: an earlier event of its aggregate is retried
  std::uint64_t dead_lettered = 0;
  std::uint64_t ignored = 0;  ///< no handler for the type, or redriven for another group
  std::uint64_t fenced = 0;   ///< handler ended too late: without effect, the message was tried again
  std::uint64_t commits = 0;

  std::uint64_t in_flight = 0;  ///< waiting here for a handler, in one, or for their commit
  std::uint64_t held_keys = 0;  ///< Order::strict: partition keys with an event that waits for its retry
  std::uint64_t lag = 0;        ///< on the stream and handed to no instance yet, as last seen (10 s at most)
  std::uint64_t last_commit_size = 0;  ///< messages settled by the last commit
  // Over the last one to two minutes, 0 when nothing was handled.
  std::chrono::microseconds handling_p50{}, handling_p99{};  ///< of a handler
  std::chrono::microseconds age_p50{}, age_p99{};  ///< from the event's time (or storing) to the commit

  /// The first 200 types that came are counted each; all others together, as `other types`.
  std::map<std::string, TypeStats> by_type{};
};

}  // namespace tidings
