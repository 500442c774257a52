#pragma once

// News of elections in a cluster. What is asked of a stream or group that has no leader is dropped without
// a word: whoever waits for an answer asks again when there is one.

#include <tidings/connection.hpp>

#include <functional>
#include <memory>
#include <string>

namespace tidings {

class LeaderAdvisories {
 public:
  /// `on_elected` is called from a NATS thread whenever the stream, or its `durable` when one is named, gets
  /// a leader: just before that listens. Never where the account may not hear of it; news can be lost.
  LeaderAdvisories(Connection& connection, const std::string& stream, const std::string& durable,
                   std::function<void()> on_elected);
  ~LeaderAdvisories();
  LeaderAdvisories(const LeaderAdvisories&) = delete;
  LeaderAdvisories& operator=(const LeaderAdvisories&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// From the news until the new leader listens, about.
constexpr std::chrono::milliseconds leader_begins{50};

}  // namespace tidings
