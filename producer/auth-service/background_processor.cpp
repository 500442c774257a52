#include "background_processor.hpp"

#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <utility>

namespace tidings {

void BackgroundProcessor::start(std::string database_url, ConnectionOptions connecting,
                                OutboxProcessorOptions options) {
  thread_ = std::jthread{[this, database_url = std::move(database_url), connecting = std::move(connecting),
                          options = std::move(options)](const std::stop_token& stop) {
    constexpr std::chrono::seconds retry_interval{10};
    while (!stop.stop_requested()) {
      try {
        const auto connection = OutboxProcessor::connect(database_url, connecting, stop);
        OutboxProcessor processor{database_url, *connection, options};
        run(processor, stop);
      } catch (const std::exception& error) {
        if (stop.stop_requested()) return;
        // Registrations go on, their events wait in the table, and /health says so. The cause (a login, a
        // stream's setting) may be mended without restarting the service.
        spdlog::error("outbox processor failed, next try in {} s error={}", retry_interval.count(),
                      error.what());
        std::condition_variable_any wake;
        std::unique_lock lock{mutex_};
        error_ = error.what();
        wake.wait_for(lock, stop, retry_interval, [] { return false; });
      }
    }
  }};
}

void BackgroundProcessor::run(OutboxProcessor& processor, const std::stop_token& stop) {
  const auto forget = [this](OutboxProcessor*) {
    const std::lock_guard lock{mutex_};
    processor_ = nullptr;
  };
  const std::unique_ptr<OutboxProcessor, decltype(forget)> known{&processor, forget};
  {
    const std::lock_guard lock{mutex_};
    processor_ = &processor;
    error_.clear();
  }
  processor.run(stop);
}

void BackgroundProcessor::notify() noexcept {
  const std::lock_guard lock{mutex_};
  if (processor_ != nullptr) processor_->notify();
}

BackgroundProcessor::Health BackgroundProcessor::health() const {
  using Phase = ProcessorStatus::Phase;
  const std::lock_guard lock{mutex_};
  if (!error_.empty()) return {false, "failed", error_};
  const auto phase = processor_ == nullptr ? Phase::waiting_for_broker : processor_->status().phase;
  return {phase == Phase::active || phase == Phase::standby, to_string(phase), {}};
}

}  // namespace tidings
