#pragma once

// Sees commits to an outbox in PostgreSQL. While writers are at work it has the
// outbox looked at every few milliseconds; when they rest, it waits for the
// notification that the next one sends. Which of both it is, writers know by an
// advisory lock (wake_lock.hpp), so none is missed and few are sent.

#include "infrastructure/commit_watch.hpp"

#include <tidings/postgres_connection.hpp>

#include <chrono>
#include <string>

namespace tidings {

class PostgresCommitWatch final : public CommitWatch {
 public:
  /// Connects at the first wait(). Without a connection, or through a pooler, that lasts for its timeout.
  explicit PostgresCommitWatch(const std::string& url);
  ~PostgresCommitWatch() override;

  bool wait(std::chrono::milliseconds timeout) override;
  void found() noexcept override;
  void sleep(std::chrono::milliseconds timeout) override;
  void wake() noexcept override;

 private:
  using Clock = std::chrono::steady_clock;

  bool look_is_due();
  void listen();
  bool hold_lock();
  bool take_wake() noexcept;
  void poll(Clock::duration duration) const;

  PostgresConnection connection_;
  int event_ = -1;
  bool holds_lock_ = false;  // writers notify
  bool warned_ = false;
  Clock::time_point connect_at_{};  // not before
  Clock::time_point try_lock_at_{};
  Clock::duration pause_;  ///< between looks while writers are at work
};

}  // namespace tidings
