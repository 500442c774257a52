#pragma once

// A consumer group is a durable on the server: a pull consumer shared by all
// instances (made when missing), or an existing push consumer with a deliver
// group, JetStream's classic queue group.

#include <tidings/consumer.hpp>

#include <chrono>
#include <string>

namespace tidings {

struct Group {
  std::string stream;
  std::string durable;
  std::string deliver_subject;  ///< of a push consumer; empty for a pull consumer
  std::string deliver_group;
  std::chrono::milliseconds ack_wait{};

  [[nodiscard]] bool push() const noexcept { return !deliver_subject.empty(); }
};

/// Finds or makes the durable. Throws NatsError: retryable when JetStream does not answer; else
/// naming what does not fit (ack policy, deliver limit, filter, a push consumer without group).
[[nodiscard]] Group join_group(Connection& connection, const ConsumerOptions& options);

}  // namespace tidings
