#include "infrastructure/commit_watch.hpp"
#include "infrastructure/postgres/postgres_database.hpp"

#include <tidings/postgres_connection.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace tidings {
namespace {

using std::chrono::milliseconds;

// Between reads while writers are busy. A read each 2 ms cost eight writers a quarter of their commits.
constexpr milliseconds first_pause{10}, longest_pause{20};
constexpr std::chrono::seconds between_connects{1};
// So many notifications at once say that writers overlap: then being read costs them less than notifying.
constexpr int busy = 2;

/// Sees commits to an outbox in PostgreSQL. While writers are busy it lets the outbox be read every few
/// milliseconds; when they rest, it waits for the notification that the next one sends. Writers know by an
/// advisory lock (wake_lock) whether to notify, so no commit is missed and few notifications are sent.
class PostgresCommitWatch final : public CommitWatch {
 public:
  /// Connects at the first wait(). Without a connection, or through a pooler, wait() lasts for its timeout.
  explicit PostgresCommitWatch(const std::string& url) : connection_(url) {}

  bool wait(milliseconds timeout) override;
  void found() noexcept override;
  void sleep(milliseconds timeout) override;
  void give_up() noexcept override;

 private:
  bool read_is_due();
  void listen();
  bool hold_lock();

  PostgresConnection connection_;
  std::atomic<bool> given_up_{false};
  bool holds_lock_ = false;  // writers notify
  bool warned_ = false;
  Clock::time_point connect_at_{};  // not before
  Clock::time_point try_lock_at_{};
  Clock::duration pause_ = first_pause;  // between reads while writers are busy
};

bool PostgresCommitWatch::wait(milliseconds timeout) {
  const auto deadline = deadline_after(timeout);
  for (;;) {
    if (take_wake()) return false;
    if (read_is_due()) return true;
    const auto now = Clock::now();
    if (now >= deadline) return false;
    const bool connected = connection_.connected();
    const auto alarm = !connected ? connect_at_ : holds_lock_ ? deadline : try_lock_at_;
    poll(std::min(deadline, alarm) - now, connected ? connection_.socket() : -1);
  }
}

bool PostgresCommitWatch::read_is_due() {
  const auto now = Clock::now();
  try {
    if (!connection_.connected()) {
      if (given_up_) connect_at_ = Clock::time_point::max();
      if (now < connect_at_) return false;
      connect_at_ = now + between_connects;
      listen();
      if (!connection_.connected()) return false;
    }
    const int notifications = connection_.take_notifications();
    if (notifications >= busy && holds_lock_) {
      connection_.exec(wake_lock::give_up);
      holds_lock_ = false;
      pause_ = first_pause;
      try_lock_at_ = now + pause_;
    }
    return notifications > 0 || (!holds_lock_ && now >= try_lock_at_ && hold_lock());
  } catch (const PostgresError& error) {
    connection_.disconnect();  // a statement that failed would fail again at once
    if (!std::exchange(warned_, true)) spdlog::warn("commits are seen by polling only: {}", error.what());
    return false;
  }
}

void PostgresCommitWatch::listen() {
  connection_.connect();
  holds_lock_ = false;
  try_lock_at_ = {};
  pause_ = first_pause;
  if (connection_.pooled()) {
    connection_.disconnect();  // poll() would return at once when the pooler ends it
    connect_at_ = Clock::time_point::max();
    if (!std::exchange(warned_, true))
      spdlog::warn("commits are seen by polling only: {} is reached through a pooler", connection_.name());
    return;
  }
  connection_.exec(wake_lock::listen);
  if (std::exchange(warned_, false)) spdlog::info("commits are seen as they come, as before");
}

/// True: the outbox has to be read either way, a last time before notifications or because writers are busy.
bool PostgresCommitWatch::hold_lock() {
  holds_lock_ = connection_.exec(wake_lock::try_hold).text(0, 0) == "t";
  try_lock_at_ = Clock::now() + pause_;
  pause_ = std::min<Clock::duration>(pause_ + pause_ / 4, longest_pause);
  return true;
}

void PostgresCommitWatch::found() noexcept {
  pause_ = first_pause;
  try_lock_at_ = std::min(try_lock_at_, Clock::now() + pause_);
}

void PostgresCommitWatch::sleep(milliseconds timeout) {
  // Otherwise writers would notify a watch that does not listen, instead of the one that does.
  if (connection_.connected()) {
    connection_.disconnect();
    connect_at_ = {};
  }
  CommitWatch::sleep(timeout);
}

void PostgresCommitWatch::give_up() noexcept {
  given_up_ = true;
  connection_.cut();
}

}  // namespace

std::unique_ptr<CommitWatch> CommitWatch::open_postgres(const std::string& url) {
  return std::make_unique<PostgresCommitWatch>(url);
}

}  // namespace tidings
