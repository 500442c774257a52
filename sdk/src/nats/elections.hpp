#pragma once

// News of elections in a cluster. What is asked of a stream or group that has no leader is dropped without
// a word: whoever waits for an answer asks again when there is one.

#include <tidings/connection.hpp>

#include <functional>
#include <memory>
#include <string>

namespace tidings {

class Elections {
 public:
  /// `on_elected` is called from a NATS thread whenever the stream, or its `durable` when one is named, gets
  /// a leader: just before that listens. Never where the account may not hear of it; news can be lost.
  Elections(Connection& connection, const std::string& stream, const std::string& durable,
            std::function<void()> on_elected);
  ~Elections();
  Elections(const Elections&) = delete;
  Elections& operator=(const Elections&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// From the news until the new leader listens, about.
constexpr std::chrono::milliseconds leader_begins{50};

}  // namespace tidings
