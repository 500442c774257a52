#pragma once

// Makes this instance the owner of its strict group when it is its turn, and says until when it is.

#include "consumer/batch_executor.hpp"
#include "consumer/consumer_context.hpp"
#include "consumer/lease_keeper.hpp"

#include <tidings/connection.hpp>

#include <atomic>
#include <stop_token>

namespace tidings {

/// Belongs to the session's thread. The inbox's commits are fenced while it is the owner.
class GroupOwnership {
 public:
  GroupOwnership(ConsumerContext& context, const Connection& connection, const BatchExecutor& executor);
  ~GroupOwnership() { release(); }
  GroupOwnership(const GroupOwnership&) = delete;
  GroupOwnership& operator=(const GroupOwnership&) = delete;

  /// Stands by until this is the owner. False when stopped before.
  [[nodiscard]] bool acquire(const std::stop_token& stop);
  /// False once another may be the owner. Thread-safe.
  [[nodiscard]] bool holds() const noexcept { return lease_.holds(); }
  /// Called in each turn. False when the group is to be left to others: the lease is over, or nobody has
  /// answered for NATS for two of them. While all workers are stuck it is not renewed.
  [[nodiscard]] bool may_stay(bool answered, bool stuck);
  /// A standby takes over at once.
  void release() noexcept;

 private:
  using Clock = LeaseKeeper::Clock;

  ConsumerContext& context_;
  const Connection& connection_;
  const BatchExecutor& executor_;
  Clock::time_point answered_at_{};
  std::atomic<bool> stuck_{false};
  LeaseKeeper lease_;
};

}  // namespace tidings
