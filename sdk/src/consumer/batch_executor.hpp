#pragma once

// Transactional mode: runs handlers inside of the inbox's transactions and says what is to become of each
// message. Knows nothing of NATS.

#include "consumer/circuit_breakers.hpp"
#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/inbox_guard.hpp"
#include "consumer/key_order.hpp"
#include "consumer/poison_detection.hpp"
#include "consumer/settlement.hpp"
#include "consumer/transient_errors.hpp"
#include "inbox/inbox.hpp"

#include <tidings/consumer_options.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

class BatchExecutor {
 public:
  using Clock = std::chrono::steady_clock;

  BatchExecutor(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options, KeyOrder& key_order)
      : inbox_(inbox),
        handlers_(handlers),
        options_(options),
        policy_(options),
        poison_(inbox, policy_),
        key_order_(key_order) {}

  /// Group commit: messages that JetStream hands out for the first time, and those that have failed here and
  /// were here since, in one transaction with a savepoint each, so that one that fails rolls back alone. Ends
  /// early when the batch's time is up, or before a message whose handler meets a transient error: returns
  /// the settlements of as many messages as it came to, from the first on. When the transaction as a whole
  /// fails (a deferred constraint, a handler's own ROLLBACK, the same transient error again and again), each
  /// message runs isolated.
  [[nodiscard]] std::vector<Settlement> run_batch(std::span<Delivery* const> batch);

  /// A message that was delivered before, or one that follows such a message in its key. Its start is
  /// committed before the handler runs, so a message that kills the process is found by its count of starts:
  /// a dead letter after `max_attempts` deaths. A death in a batch before them does not count: nothing tells
  /// such a message from one that was given back, or from its neighbours there. A call with the same message
  /// after InboxUnavailable is not a new start. Transient errors of its handler count as a failure once there
  /// were too many of them and the inbox can commit that.
  [[nodiscard]] Settlement run_isolated(Delivery& delivery);

  /// A handler that runs now.
  struct Running {
    std::uint64_t stream_sequence;  ///< of its message
    Clock::time_point since;
  };
  [[nodiscard]] std::optional<Running> running() const;  ///< thread-safe
  /// The same when it runs longer than it may. Thread-safe.
  [[nodiscard]] std::optional<Running> overdue() const;

  /// What handlers wait for.
  [[nodiscard]] CircuitBreakers& breakers() noexcept { return breakers_; }

 private:
  [[nodiscard]] std::vector<Settlement> in_one_transaction(std::span<Delivery* const> batch);
  void claim_ahead(std::span<Delivery* const> rest);
  [[nodiscard]] std::vector<Settlement> one_by_one(std::span<Delivery* const> batch);
  [[nodiscard]] Settlement in_savepoint(Delivery& delivery);
  [[nodiscard]] std::optional<Inbox::Attempts> failures_before(const Delivery& delivery);
  void undo_handler();
  [[nodiscard]] bool is_given_up(const Delivery& delivery) const;
  [[nodiscard]] Settlement record_given_up(const Delivery& delivery);
  [[nodiscard]] Settlement start_and_run(Delivery& delivery, const Handlers::Entry& entry);
  [[nodiscard]] Settlement run_started(Delivery& delivery, const Handlers::Entry& entry);
  [[nodiscard]] Settlement run(Delivery& delivery, const Handlers::Entry& entry);
  [[nodiscard]] bool tolerates(const Delivery& delivery);

  Inbox& inbox_;
  const Handlers& handlers_;
  const ConsumerOptions& options_;
  FailurePolicy policy_;
  PoisonDetector poison_;
  KeyOrder& key_order_;
  struct Interrupted {
    std::string event;  ///< EventKey::unique()
    PoisonDetector::Start start;
  };
  // The event whose start is committed and whose handler has not ended, or the inbox became unavailable
  // meanwhile.
  std::optional<Interrupted> interrupted_;
  CircuitBreakers breakers_{handlers_};
  TransientErrors transient_;           // of handlers, and of commits behind one
  TransientErrors transient_in_batch_;  // after handlers of a batch have run, by its first event
  bool handler_ran_ = false;            // in this batch
  // The last message whose handler ran too long, by its delivery: it is not ours any more.
  struct GivenUp {
    std::uint64_t delivered = 0, stream_sequence = 0;
    Settlement settlement;
  } given_up_;
  std::atomic<std::uint64_t> running_{0};  // stream sequence of the message whose handler runs, or 0
  std::atomic<Clock::rep> running_since_{0};
};

}  // namespace tidings
