#pragma once

// Streams are made when missing, compared when present, and never changed behind an operator's back.

#include <tidings/connection.hpp>

#include <chrono>
#include <string>
#include <vector>

namespace tidings {

struct StreamSpec {
  std::string name = "AUTH_EVENTS";
  std::vector<std::string> subjects{"auth.events.>"};
  int replicas = 1;                            ///< used when made; fewer on the server is an error
  std::chrono::seconds duplicate_window{120};  ///< used when made; a shorter one on the server is an error
  std::chrono::seconds max_age{0};             ///< 0 keeps for ever
  enum class Use { publish, read };
  /// To read, a mirror or a stream with sources will do, and so will one that a transform leads to the
  /// subjects.
  Use use = Use::publish;
};

/// Makes the stream (file storage, limits retention) or checks the one that is there. Throws NatsError: not
/// retryable, with the field and both values, when they differ in what matters (memory storage, fewer
/// replicas, subjects not covered, a shorter duplicate window) or when replicas are asked of a server that is
/// not in a cluster; retryable when JetStream does not answer, or when its cluster has too few servers for
/// the replicas: they may still come.
void ensure_stream(Connection& connection, const StreamSpec& spec);

/// Whether events may go to a stream as atomic batches, of which all or none are stored.
enum class AtomicBatches {
  unknown,      ///< its server knows none (before 2.12), or does not say
  not_allowed,  ///< the server knows them, and the stream has no allow_atomic
  allowed,      ///< as on streams that ensure_stream makes on such a server
};

/// Asks the stream's server, and waits 1 s at most.
[[nodiscard]] AtomicBatches atomic_batches(Connection& connection, const std::string& stream);

/// Logs a warning when the stream discards what a group may not have seen: retention other than limits,
/// max_msgs_per_subject, max_msgs or max_bytes that discard the oldest, a max_age of less than a day.
void warn_of_discards(Connection& connection, const std::string& stream);

}  // namespace tidings
