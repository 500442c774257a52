#pragma once

// An outbox processor from before its connection to NATS to its end, for those who watch it meanwhile or run
// it beside other work.

#include <tidings/connection.hpp>
#include <tidings/monitor_report.hpp>
#include <tidings/outbox_processor.hpp>

#include <mutex>
#include <stop_token>
#include <string>

namespace tidings {

/// Thread-safe, but for run().
class ProcessorRun {
 public:
  /// OutboxProcessor::connect() and run(), with what they throw. May be called again.
  void run(const std::string& database_url, const ConnectionOptions& connecting,
           const OutboxProcessorOptions& options, const std::stop_token& stop);

  /// After a commit in this process: read the outbox now.
  void notify() noexcept;

  /// `waiting_for_broker` while it connects; `stopped` with the error after a run that failed.
  [[nodiscard]] ProcessorStatus status() const;
  /// For MonitorServer.
  [[nodiscard]] MonitorReport report(const HealthLimits& limits = {}) const;

 private:
  void begin_waiting(const std::string& why);
  void forget_processor();

  mutable std::mutex mutex_;              // guards what follows
  OutboxProcessor* processor_ = nullptr;  // while it runs
  ProcessorStatus status_;                // while it does not
};

}  // namespace tidings
