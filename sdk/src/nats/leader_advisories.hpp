#pragma once

// Tells when a stream or a durable of a cluster has a new leader. Without a leader,
// requests are dropped without an answer, and are worth repeating when one has been elected.

#include "nats/subscription.hpp"

#include <tidings/connection.hpp>

#include <functional>
#include <memory>
#include <string>

namespace tidings {

class LeaderAdvisories {
 public:
  /// `on_elected` is called from a NATS thread whenever the stream, or its `durable` when one is named, gets
  /// a leader, just before the leader begins to listen. It is never called where the account may not
  /// subscribe to advisories, and advisories can be lost.
  LeaderAdvisories(Connection& connection, const std::string& stream, const std::string& durable,
                   std::function<void()> on_elected);
  ~LeaderAdvisories();
  LeaderAdvisories(const LeaderAdvisories&) = delete;
  LeaderAdvisories& operator=(const LeaderAdvisories&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
  Subscription subscription_;
};

/// About how long after its advisory a new leader begins to listen.
constexpr std::chrono::milliseconds leader_begins{50};

}  // namespace tidings
