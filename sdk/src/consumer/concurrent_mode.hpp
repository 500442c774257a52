#pragma once

// Concurrent mode of a session: messages are handed to workers, and settled as their handlers end.

#include "consumer/concurrent_executor.hpp"
#include "consumer/consumer_context.hpp"
#include "consumer/outage_wait.hpp"
#include "consumer/puller.hpp"
#include "consumer/settler.hpp"
#include "consumer/stream_message.hpp"

#include <tidings/connection.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <unordered_map>
#include <vector>

namespace tidings {

class ConcurrentMode {
 public:
  using Clock = std::chrono::steady_clock;
  /// Taken ahead for each worker.
  static constexpr int ahead_of_a_worker = 8;
  static constexpr const char* all_stuck_reason =
      "workers: all are held by handlers that ran longer than handler_time_limit";

  /// After `stop`, no handler is started.
  ConcurrentMode(ConsumerContext& context, KeyOrder& key_order, Puller& puller, Settler& settler,
                 OutageWait& outage, const std::stop_token& stop);

  /// For so many workers, so that other instances get theirs.
  [[nodiscard]] static Prefetch share(Prefetch prefetch, int workers);

  void submit(StreamMessagePtr message);

  /// Settles what has ended and starts what may run. True when there was something to do.
  bool step();
  /// While all workers are held by late handlers, gives what waits for them back to the group and takes no
  /// more: here it would wait as long as they run, which may be for ever. True meanwhile, and when it ends.
  bool leave_to_others();

  /// For those who watch the consumer.
  void show_handlers();
  /// If that is wanted, and all workers are held by late handlers.
  void end_process_if_stuck(Connection& connection);

  /// How many messages may be taken.
  [[nodiscard]] std::size_t room() const;
  [[nodiscard]] bool empty() const noexcept { return messages_.empty(); }
  [[nodiscard]] bool all_stuck() const noexcept { return executor_.all_stuck(); }
  [[nodiscard]] CircuitBreakers& breakers() noexcept { return executor_.breakers(); }
  /// When step() is to be called, unless woken before: now, at that time, or when anything happens.
  [[nodiscard]] std::optional<Clock::time_point> next_step();

  /// At a stop: keeps for the drain what no worker has started.
  void withdraw();
  /// Waits for handlers that run: what they have done by then counts, unless the inbox is lost.
  void drain(Clock::time_point deadline);
  /// Behind the drain: of handlers that still run, which nothing can stop.
  void tell_of_late_handlers();

 private:
  void settle(std::vector<ConcurrentExecutor::Settled>&& settlements);

  ConsumerContext& context_;
  Puller& puller_;
  Settler& settler_;
  OutageWait& outage_;
  std::unordered_map<ConcurrentExecutor::Ticket, StreamMessagePtr> messages_;
  ConcurrentExecutor::Ticket next_ticket_ = 0;
  bool stuck_ = false;  // as leave_to_others() last found
  ConcurrentExecutor executor_;
  std::stop_callback<std::function<void()>> on_stop_;  // the session's thread may be waiting for the inbox
};

}  // namespace tidings
