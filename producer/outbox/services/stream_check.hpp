#pragma once

#include <tidings/connection.hpp>
#include <tidings/outbox_processor.hpp>

#include <chrono>
#include <optional>

namespace tidings {

/// Knows when the stream has to be created or checked before anything is published: at first, after each
/// transient error and with each new leader, since it may have been deleted meanwhile.
class StreamCheck {
 public:
  StreamCheck(Connection& connection, const OutboxProcessorOptions& options)
      : connection_(connection), options_(options) {}

  [[nodiscard]] bool due() const { return Clock::now() >= due_; }
  void repeat() noexcept { due_ = {}; }

  /// True when events may be chained: the stream has one replica. From nats-server 2.14 on, a chain that
  /// breaks stops a stream with more of them for good. Throws NatsError.
  [[nodiscard]] bool run();

 private:
  using Clock = std::chrono::steady_clock;

  /// The stream's replicas; empty when nobody says.
  [[nodiscard]] std::optional<int> replicas();

  Connection& connection_;
  const OutboxProcessorOptions& options_;
  Clock::time_point due_{};
  bool warned_ = false;
};

}  // namespace tidings
