#pragma once

// Concurrent mode: handlers that wait for other services run side by side, one at a
// time for each aggregate. What they have done is committed to the inbox in groups,
// on the consumer's thread, after they have ended. Knows nothing of NATS.

#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/held_aggregates.hpp"
#include "consumer/inbox_unavailable.hpp"
#include "consumer/key_queues.hpp"
#include "consumer/settlement.hpp"
#include "consumer/worker_pool.hpp"
#include "inbox/inbox.hpp"

#include <tidings/consumer_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

namespace tidings {

/// Belongs to one thread, that of the consumer.
class ConcurrentHandling {
 public:
  using Ticket = KeyQueues::Ticket;

  struct Settled {
    Ticket ticket;
    Delivery delivery;
    Settlement settlement;
  };

  /// `wake` is called on another thread when step() has something to do.
  ConcurrentHandling(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options,
                     std::function<void()> wake);

  /// Of each message, before one of those that came with it is submitted.
  void arrived(std::uint64_t consumer_sequence, std::chrono::steady_clock::time_point at) {
    held_.arrived(consumer_sequence, at);
  }

  /// An event waits for earlier ones of its aggregate. The ticket comes back with what is to become of the
  /// message.
  void submit(Ticket ticket, Delivery delivery);

  /// One commit: of the runs that have ended, and of the starts of those that may run next. Returns what is
  /// settled by it. After InboxUnavailable nothing has changed: call again.
  [[nodiscard]] std::vector<Settled> step();
  [[nodiscard]] bool more_to_do();

  /// When a running handler will have run too long, if one runs.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> next_overdue() const;
  /// Workers that are held by handlers which ran too long.
  [[nodiscard]] std::size_t stuck() const noexcept { return stuck_; }
  /// Then nothing is started.
  [[nodiscard]] bool all_stuck() const noexcept {
    return stuck_ >= static_cast<std::size_t>(options_.workers);
  }
  /// Submitted and not settled.
  [[nodiscard]] std::size_t size() const noexcept { return runs_.size(); }

  /// What no worker has started, in order, with its former count of starts: at a stop, or while all workers
  /// are stuck, and then to come back after `delay`. Throws InboxUnavailable: then the workers start nothing
  /// of it, call again.
  [[nodiscard]] std::vector<Settled> withdraw(std::chrono::milliseconds delay = {});
  /// Gives up on what still runs. Its starts are taken back, unless the inbox is in trouble.
  [[nodiscard]] std::vector<Settled> abandon_all();

 private:
  void collect_ended();
  void choose_candidates();
  [[nodiscard]] Settlement end(const Run& run);
  [[nodiscard]] std::optional<Settlement> begin(Run& run);
  [[nodiscard]] std::vector<Settled> give_back_held();
  void settle(const RunPtr& run, Settlement settlement, std::vector<Settled>& settled);
  void hold_or_release(const Run& run, const Settlement& settlement, std::vector<Settled>& settled);
  void undo_starts(const std::vector<RunPtr>& runs);
  template <class Work>
  void transact(Work&& work);

  Inbox& inbox_;
  const Handlers& handlers_;
  const ConsumerOptions& options_;
  FailurePolicy policy_;
  HeldAggregates held_;
  KeyQueues lanes_;
  std::unordered_map<Ticket, RunPtr> runs_;    // submitted and not settled
  std::unordered_map<Ticket, RunPtr> active_;  // of these, with a worker or waiting for one
  std::deque<RunPtr> suspects_;                // wait until nothing else runs
  std::vector<RunPtr> candidates_;             // to be started by the next commit
  std::vector<RunPtr> ended_;                  // to be settled by the next commit
  std::vector<RunPtr> taken_back_;             // from the workers, to be given back by the next commit
  std::vector<Settled> held_back_;             // when they were submitted
  std::size_t stuck_ = 0;
  bool in_trouble_ = false;  // the inbox was when something was last to be committed
  WorkerPool pool_;
};

}  // namespace tidings
