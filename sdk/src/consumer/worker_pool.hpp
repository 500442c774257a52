#pragma once

// The threads of concurrent mode, and the runs of handlers that pass through them.

#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/settlement.hpp"

#include <tidings/delivery.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace tidings {

/// One start of a handler. The worker has the delivery and the settlement until the run has ended; others may
/// read the delivery meanwhile.
struct Run {
  using Clock = std::chrono::steady_clock;
  static constexpr auto not_started = Clock::time_point::max();

  Run(std::uint64_t its_ticket, const Handlers::Entry* its_entry, Delivery its_delivery)
      : ticket(its_ticket), entry(its_entry), delivery(std::move(its_delivery)) {}

  const std::uint64_t ticket;
  const Handlers::Entry* const entry;
  Delivery delivery;
  Settlement settlement;  ///< once it has ended
  std::atomic<Clock::time_point> started{not_started};
};
using RunPtr = std::shared_ptr<Run>;

class WorkerPool {
 public:
  /// `wake` is called on a worker's thread when there are ended runs to take.
  WorkerPool(int workers, const FailurePolicy& policy, std::function<void()> wake);
  /// Waits for running handlers.
  ~WorkerPool();

  void start(RunPtr run);
  [[nodiscard]] std::vector<RunPtr> take_ended();
  /// From now on workers only finish what they have begun. Thread-safe.
  void start_no_more();
  /// Those that no worker has started.
  [[nodiscard]] std::deque<RunPtr> take_back();

 private:
  void work(const std::stop_token& stop);
  void handle(Run& run) const;

  const FailurePolicy& policy_;
  std::function<void()> wake_;
  std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::deque<RunPtr> waiting_;
  bool starts_no_more_ = false;
  std::vector<RunPtr> ended_;
  std::vector<std::jthread> threads_;
};

}  // namespace tidings
