#pragma once

// For consumers that run in a process of their own, to be killed between two of their steps.

#include "support/test_inbox.hpp"

#include <atomic>
#include <csignal>
#include <memory>
#include <string>

namespace tidings::test {

/// Kills this process when a step is done the `nth` time.
struct Killer {
  std::string place;
  int nth = 1;
  std::atomic<int> times{0};
  // What the handler has done with the current message.
  std::atomic<bool> effect{false}, rejected{false};

  [[nodiscard]] bool kills_at(const std::string& step) { return step == place && ++times == nth; }
  void pass(const std::string& step) {
    if (kills_at(step)) std::raise(SIGKILL);
  }
  [[nodiscard]] bool kills_before_commit() { return effect && kills_at("before the commit"); }
  [[nodiscard]] bool kills_after_commit() {
    return (effect.exchange(false) && kills_at("after the commit")) ||
           (rejected.exchange(false) && kills_at("before the copy"));
  }
};

/// Lets the killer in on each commit of an effect or of an attempt.
class KillerAtCommits {
 public:
  KillerAtCommits(TestInbox& inbox, const std::string& location, Killer& killer);
  ~KillerAtCommits();

 private:
  class PostgresSession;
  std::unique_ptr<PostgresSession> session_;  // SQLite has hooks for it
};

}  // namespace tidings::test
