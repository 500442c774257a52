#pragma once

// Tells when the consumer's thread is held up, by a handler that runs too long or by an inbox that does not
// answer: that thread itself cannot.

#include "consumer/batch_executor.hpp"
#include "consumer/consumer_context.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

namespace tidings {

/// Does what ConsumerOptions::on_overdue says about a handler, and lets a stop end within drain_timeout.
class Watchdog {
 public:
  /// `stop` is the consumer's.
  Watchdog(const BatchExecutor& executor, ConsumerContext& context, std::stop_token stop)
      : executor_(executor),
        context_(context),
        stop_(std::move(stop)),
        thread_([this](const std::stop_token& end) { watch(end); }) {}

 private:
  void watch(const std::stop_token& end);
  using Clock = BatchExecutor::Clock;

  void look_at_handler();
  void look_at_inbox();
  void look_at_stop();
  void tell_what_holds_up();
  [[nodiscard]] std::string name_of(const BatchExecutor::Running& handler) const;

  const BatchExecutor& executor_;
  ConsumerContext& context_;
  const std::stop_token stop_;
  Clock::time_point
      told_overdue_{};  // since when that handler ran: the message may come again, and hang again
  std::optional<Clock::time_point> stop_seen_;
  bool told_of_stop_ = false;
  std::jthread thread_;  // last: it uses the others
};

/// Whether a handler that runs too long ends the process.
[[nodiscard]] bool ends_process(const ConsumerContext& context);

/// After a line in the log that says why.
[[noreturn]] void end_process(const std::string& reason);

}  // namespace tidings
