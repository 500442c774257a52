#pragma once

// Concurrent mode: handlers that wait for other services run side by side, one at a time for each key. What
// they have done is committed to the inbox in groups, on the consumer's thread, after they have ended. Knows
// nothing of NATS.

#include "consumer/circuit_breakers.hpp"
#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/inbox_guard.hpp"
#include "consumer/key_order.hpp"
#include "consumer/key_queues.hpp"
#include "consumer/poison_detection.hpp"
#include "consumer/settlement.hpp"
#include "consumer/worker_pool.hpp"
#include "inbox/inbox.hpp"

#include <tidings/consumer_options.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// Belongs to one thread, that of the consumer.
class ConcurrentExecutor {
 public:
  using Clock = std::chrono::steady_clock;
  using Ticket = KeyQueues::Ticket;

  struct Settled {
    Ticket ticket;
    Delivery delivery;
    Settlement settlement;
  };

  /// `wake` is called on another thread when step() has something to do.
  ConcurrentExecutor(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options,
                     KeyOrder& key_order, std::function<void()> wake);

  /// An event waits for earlier ones of its key. The ticket, larger for each message, comes back with what is
  /// to become of the message.
  void submit(Ticket ticket, Delivery delivery);

  /// One commit, of handlers that have ended and of the starts of those that may run next. Returns what is
  /// settled by it. After InboxUnavailable nothing has changed: call again.
  [[nodiscard]] std::vector<Settled> step();
  [[nodiscard]] bool more_to_do();

  /// When the handler began that has run longest, if one runs; without those that are late.
  [[nodiscard]] std::optional<Clock::time_point> oldest_start() const;
  /// When a running handler will have run too long, if one runs.
  [[nodiscard]] std::optional<Clock::time_point> next_overdue() const;
  /// How many handlers still run that nobody waits for any more: they ran too long, or were abandoned.
  [[nodiscard]] std::size_t stuck();
  /// The same, as of the last step.
  [[nodiscard]] std::size_t late() const noexcept { return late_; }
  /// All workers are held by such handlers. Then nothing is started.
  [[nodiscard]] bool all_stuck() const noexcept {
    return late_ >= static_cast<std::size_t>(options_.workers);
  }
  /// Messages that wait for others of their keys.
  [[nodiscard]] std::size_t behind_their_keys() const { return in(Stage::queued).size() - queues_.open(); }
  /// Submitted and not settled.
  [[nodiscard]] std::size_t size() const noexcept { return messages_.size(); }

  /// From now on no worker starts anything. Thread-safe.
  void start_no_more() { pool_.start_no_more(); }
  /// Takes out what no worker has started, in order, and undoes its starts: at a stop, or while all workers
  /// are stuck. The messages are to come back after `delay`. After InboxUnavailable the workers start none of
  /// them: call again.
  [[nodiscard]] std::vector<Settled> withdraw(std::chrono::milliseconds delay = {});
  /// Gives up on what still runs. Its starts are undone, unless the inbox cannot be written.
  [[nodiscard]] std::vector<Settled> abandon_all();

  /// What handlers wait for.
  [[nodiscard]] CircuitBreakers& breakers() noexcept { return breakers_; }

 private:
  enum class Stage {
    held_back,   ///< goes back with the next commit: an earlier event of its key has gone back
    queued,      ///< waits for its turn in its key, or for a worker
    suspect,     ///< may have ended a process: waits until nothing else runs
    starting,    ///< its start is part of the next commit
    active,      ///< with the workers
    ended,       ///< its end is part of the next commit
    taken_back,  ///< from the workers, which had not started it: its start is to be undone
  };
  static constexpr std::size_t stage_count = static_cast<std::size_t>(Stage::taken_back) + 1;
  struct Message {
    Ticket ticket = 0;
    std::string key;  ///< of its queue
    Stage stage = Stage::queued;
    Delivery delivery;  ///< the run has it while active
    const Handlers::Entry* entry = nullptr;
    bool isolated = false;          ///< nothing else is to run beside it
    PoisonDetector::Start start{};  ///< once active
    RunPtr run{};                   ///< while active
    Settlement settlement{};        ///< once ended
  };
  using Messages = std::map<Ticket, Message*>;  // in the order in which they came

  [[nodiscard]] Messages& in(Stage stage) { return by_stage_[static_cast<std::size_t>(stage)]; }
  [[nodiscard]] const Messages& in(Stage stage) const { return by_stage_[static_cast<std::size_t>(stage)]; }
  /// For a loop that moves them to other stages.
  [[nodiscard]] std::vector<Message*> list(std::initializer_list<Stage> stages) const;
  void move_to(Stage stage, Message& message);
  void collect_ended();
  void end(Message& message, Settlement settlement);
  void choose();
  [[nodiscard]] Settlement commit_end(const Message& message);
  [[nodiscard]] PoisonDetector::Decision commit_start(Message& message);
  void run(Message& message, PoisonDetector::Start start);
  void take_back();
  void undo_starts(const std::vector<Message*>& messages);
  void settle(Message& message, Settlement settlement, std::vector<Settled>& settled);
  void give_back_behind(const std::string& key, std::vector<Settled>& settled);
  [[nodiscard]] std::vector<Settled> give_back_held();
  /// The message leaves the executor.
  void leave(Message& message, Settlement settlement, Clock::time_point time, std::vector<Settled>& settled);
  template <class Work>
  void commit(Work&& work);

  Inbox& inbox_;
  const Handlers& handlers_;
  const ConsumerOptions& options_;
  FailurePolicy policy_;
  PoisonDetector poison_;
  KeyOrder& key_order_;
  KeyQueues queues_;
  CircuitBreakers breakers_{handlers_};
  std::map<Ticket, Message> messages_;
  std::array<Messages, stage_count> by_stage_;
  std::size_t late_ = 0;       // runs that the workers have, and nobody waits for any more
  bool inbox_failed_ = false;  // in the last commit
  WorkerPool pool_;
};

}  // namespace tidings
