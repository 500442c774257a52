#include "infrastructure/postgres/postgres_commit_watch.hpp"

#include "infrastructure/postgres/wake_lock.hpp"

#include <tidings/error.hpp>

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <system_error>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_pause{2};
constexpr milliseconds longest_pause{20};
constexpr std::chrono::seconds between_connects{1};
constexpr std::chrono::hours longest_wait{24};
// So many notifications at once say that writers overlap: then being read costs them less than notifying.
constexpr int busy = 2;

}  // namespace

PostgresCommitWatch::PostgresCommitWatch(const std::string& url)
    : connection_(url), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), pause_(first_pause) {
  if (event_ < 0)
    throw Error("cannot watch the outbox: no event descriptor: " + std::generic_category().message(errno),
                Error::Retry::yes);
}

PostgresCommitWatch::~PostgresCommitWatch() { ::close(event_); }

bool PostgresCommitWatch::wait(milliseconds timeout) {
  const auto deadline = Clock::now() + std::clamp<milliseconds>(timeout, milliseconds{0}, longest_wait);
  for (;;) {
    if (take_wake()) return false;
    if (read_is_due()) return true;
    const auto now = Clock::now();
    if (now >= deadline) return false;
    const auto alarm = !connection_.connected() ? connect_at_ : holds_lock_ ? deadline : try_lock_at_;
    poll(std::min(deadline, alarm) - now);
  }
}

bool PostgresCommitWatch::read_is_due() {
  const auto now = Clock::now();
  try {
    if (!connection_.connected()) {
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
    connection_.disconnect();  // of no use, and poll() would return at once when the pooler ends it
    connect_at_ = Clock::time_point::max();
    if (!std::exchange(warned_, true))
      spdlog::warn("commits are seen by polling only: {} is reached through a pooler", connection_.name());
    return;
  }
  connection_.exec(wake_lock::listen);
  if (std::exchange(warned_, false)) spdlog::info("commits are seen as they come again");
}

/// True, since the outbox has to be read either way: a last time before notifications, or as writers are
/// busy.
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
  const auto deadline = Clock::now() + std::clamp<milliseconds>(timeout, milliseconds{0}, longest_wait);
  for (auto now = Clock::now(); !take_wake() && now < deadline; now = Clock::now()) {
    std::array<pollfd, 1> descriptors{{{event_, POLLIN, 0}}};
    ::poll(descriptors.data(), descriptors.size(),
           static_cast<int>(std::chrono::ceil<milliseconds>(deadline - now).count()));
  }
}

bool PostgresCommitWatch::take_wake() noexcept {
  std::uint64_t count = 0;
  return ::read(event_, &count, sizeof count) == sizeof count;
}

void PostgresCommitWatch::poll(Clock::duration duration) const {
  std::array<pollfd, 2> descriptors{{{event_, POLLIN, 0}, {connection_.socket(), POLLIN, 0}}};
  const auto rest = std::max(duration, Clock::duration{0});
  const auto seconds = std::chrono::floor<std::chrono::seconds>(rest);
  const timespec time{seconds.count(), std::chrono::nanoseconds{rest - seconds}.count()};
  ::ppoll(descriptors.data(), connection_.connected() ? 2 : 1, &time, nullptr);
}

void PostgresCommitWatch::wake() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(event_, &one, sizeof one);
}

}  // namespace tidings
