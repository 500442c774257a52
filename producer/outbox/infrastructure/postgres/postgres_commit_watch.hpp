#pragma once

// Sees commits to an outbox in PostgreSQL. While writers are busy it lets the outbox
// be read every few milliseconds; when they rest, it waits for the notification that
// the next one sends. Writers know by an advisory lock (wake_lock.hpp) whether to
// notify, so no commit is missed and few notifications are sent.

#include "infrastructure/commit_watch.hpp"

#include <tidings/postgres_connection.hpp>

#include <chrono>
#include <string>

namespace tidings {

class PostgresCommitWatch final : public CommitWatch {
 public:
  /// Connects at the first wait(). Without a connection, or through a pooler, wait() lasts for its timeout.
  explicit PostgresCommitWatch(const std::string& url);
  ~PostgresCommitWatch() override;

  bool wait(std::chrono::milliseconds timeout) override;
  void found() noexcept override;
  void sleep(std::chrono::milliseconds timeout) override;
  void wake() noexcept override;

 private:
  using Clock = std::chrono::steady_clock;

  bool read_is_due();
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
  Clock::duration pause_;  ///< between reads while writers are busy
};

}  // namespace tidings
