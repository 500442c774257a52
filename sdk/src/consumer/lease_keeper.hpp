#pragma once

// Makes one instance of a strict group its owner, and keeps it that while it lives: the others stand by.

#include "consumer/silence.hpp"
#include "inbox/tenure_store.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace tidings {

class LeaseKeeper {
 public:
  using Clock = std::chrono::steady_clock;

  LeaseKeeper(std::unique_ptr<TenureStore> store, std::chrono::milliseconds lease)
      : store_(std::move(store)), lease_(lease) {}

  /// Stands by until the owner has released the lease or been silent for as long, and `may_take` says so.
  /// False when stopped.
  [[nodiscard]] bool acquire(const std::stop_token& stop, const std::function<bool()>& may_take);
  /// Beats on a thread of its own as long as `may_renew`, which it calls, says so.
  void keep(std::function<bool()> may_renew);
  /// What Inbox::fence() takes.
  [[nodiscard]] const std::string& tenure() const noexcept { return tenure_; }

  /// False once the lease may have ended. Thread-safe.
  [[nodiscard]] bool holds() const noexcept;
  /// Asks the database where it may have: after an outage, nobody may have taken over. Thread-safe.
  [[nodiscard]] bool still_holds();
  /// A standby takes over at once. No effect when there is nothing to release.
  void release() noexcept;

 private:
  [[nodiscard]] bool take(const TenureStore::Seen& seen, Silence& silence);
  bool renew();

  const std::unique_ptr<TenureStore> store_;
  std::mutex store_in_use_;  // from keep() to release()
  const std::chrono::milliseconds lease_;
  std::string tenure_;
  std::function<bool()> may_renew_;
  std::atomic<Clock::rep> renewed_{0};
  std::atomic<bool> lost_{false};
  std::jthread beating_;
};

}  // namespace tidings
