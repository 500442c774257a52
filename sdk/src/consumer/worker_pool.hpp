#pragma once

// The threads of concurrent mode, and the runs of handlers that pass through them.

#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/settlement.hpp"
#include "inbox/inbox.hpp"

#include <tidings/delivery.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

namespace tidings {

/// One start of a handler. The worker has the delivery and the settlement while it runs.
struct Run {
  std::uint64_t ticket = 0;
  std::string lane;
  Delivery delivery;
  const Handlers::Entry* entry = nullptr;
  std::optional<Inbox::Attempts> before, kept;  ///< what the inbox says before it, and while it runs
  bool alone = false;                           ///< a suspect: nothing else runs beside it
  bool abandoned = false;  ///< ran too long: what becomes of it is of no interest any more
  std::atomic<std::chrono::steady_clock::rep> started{0};  ///< 0 before
  Settlement settlement;                                   ///< once it has ended

  [[nodiscard]] std::chrono::steady_clock::time_point started_at() const {
    return std::chrono::steady_clock::time_point{std::chrono::steady_clock::duration{started.load()}};
  }
};
using RunPtr = std::shared_ptr<Run>;

class WorkerPool {
 public:
  /// `wake` is called on a worker's thread when there are ended runs to take.
  WorkerPool(int workers, const FailurePolicy& policy, std::function<void()> wake);
  /// Waits for running handlers.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void start(RunPtr run);
  [[nodiscard]] std::vector<RunPtr> take_ended();
  /// Those that no worker has started.
  [[nodiscard]] std::vector<RunPtr> take_back();

 private:
  void work(const std::stop_token& stop);
  void handle(Run& run) const;

  const FailurePolicy& policy_;
  std::function<void()> wake_;
  std::mutex mutex_;
  std::condition_variable_any arrived_;
  std::deque<RunPtr> waiting_;
  std::vector<RunPtr> ended_;
  std::vector<std::jthread> threads_;
};

}  // namespace tidings
