#pragma once

// The outbox processor inside of a service that must answer at once: it connects in
// the background, so that a broker that is away holds up no registration.

#include <tidings/connection.hpp>
#include <tidings/monitor_report.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/processor_run.hpp>

#include <stop_token>
#include <string>
#include <thread>

namespace tidings {

/// Thread-safe, but for start(). The destructor drains.
class BackgroundProcessor {
 public:
  void start(std::string database_url, ConnectionOptions connecting, OutboxProcessorOptions options);

  /// After a commit: read the outbox now.
  void notify() noexcept { run_.notify(); }

  struct Health {
    bool ok = false;
    std::string phase;  ///< the processor's, or `failed`
    std::string error;  ///< why it is not ok; what failed is tried again every 10 s
  };
  [[nodiscard]] Health health() const;
  [[nodiscard]] MonitorReport report(const HealthLimits& limits) const;

 private:
  ProcessorRun run_;
  std::jthread thread_;  // last: it uses the other
};

}  // namespace tidings
