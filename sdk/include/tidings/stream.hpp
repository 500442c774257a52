#pragma once

// Streams are made when missing, compared when present, and never changed behind an operator's back.

#include <tidings/connection.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

struct StreamSpec {
  std::string name = "AUTH_EVENTS";
  std::vector<std::string> subjects{"auth.events.>"};
  int replicas = 1;                            ///< used when made; fewer on the server is an error
  std::chrono::seconds duplicate_window{120};  ///< used when made; a shorter one on the server is an error
  std::chrono::seconds max_age{0};             ///< 0 keeps for ever
};

/// Makes the stream (file storage, limits retention) or checks the one that is there; returns its replicas.
/// Throws NatsError: not retryable, with the field and both values, when they differ in what matters (memory
/// storage, fewer replicas, subjects not covered, a shorter duplicate window) or when replicas are asked of a
/// server that is not in a cluster; retryable when JetStream does not answer, or when its cluster has too few
/// servers for the replicas: they may still come.
int ensure_stream(Connection& connection, const StreamSpec& spec);

/// How many replicas the stream has; empty when it is not there, or when there is no answer within 1 s.
[[nodiscard]] std::optional<int> replicas_of(Connection& connection, const std::string& stream);

}  // namespace tidings
