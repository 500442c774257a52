#include "background_processor.hpp"

#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace tidings {

void BackgroundProcessor::start(std::string database_url, ConnectionOptions connecting,
                                OutboxProcessorOptions options) {
  thread_ = std::jthread{[this, database_url = std::move(database_url), connecting = std::move(connecting),
                          options = std::move(options)](const std::stop_token& stop) {
    constexpr std::chrono::seconds retry_interval{10};
    while (!stop.stop_requested()) {
      try {
        run_.run(database_url, connecting, options, stop);
      } catch (const std::exception& error) {
        if (stop.stop_requested()) return;
        // Registrations go on, their events wait in the table, and /health says so. The cause (a login, a
        // stream's setting) may be mended without restarting the service.
        spdlog::error("outbox processor failed, next try in {} s error={}", retry_interval.count(),
                      error.what());
        std::mutex mutex;
        std::condition_variable_any wake;
        std::unique_lock lock{mutex};
        wake.wait_for(lock, stop, retry_interval, [] { return false; });
      }
    }
  }};
}

BackgroundProcessor::Health BackgroundProcessor::health() const {
  using Phase = ProcessorStatus::Phase;
  const auto status = run_.status();
  const bool ok = status.phase == Phase::active || status.phase == Phase::standby;
  const bool failed = status.phase == Phase::stopped && !status.waiting_because.empty();
  return {ok, failed ? "failed" : to_string(status.phase), ok ? "" : status.waiting_because};
}

MonitorReport BackgroundProcessor::report(const HealthLimits& limits) const {
  auto report = run_.report(limits);
  // It is tried again, and registrations go on meanwhile: whoever restarts what is not alive would end them.
  if (run_.status().phase == ProcessorStatus::Phase::stopped) report.stalled.clear();
  return report;
}

}  // namespace tidings
