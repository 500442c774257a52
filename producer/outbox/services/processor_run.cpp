#include "services/processor_report.hpp"

#include <tidings/processor_run.hpp>

#include <exception>
#include <memory>

namespace tidings {

using Phase = ProcessorStatus::Phase;

void ProcessorRun::run(const std::string& database_url, const ConnectionOptions& connecting,
                       const OutboxProcessorOptions& options, const std::stop_token& stop) {
  // Why the run before failed is told until this one has a connection, or an error of its own.
  if (const auto last = status(); last.phase != Phase::stopped || last.waiting_because.empty())
    begin_waiting({});
  try {
    const auto connection = OutboxProcessor::connect(
        database_url, connecting, stop, [this](const Error& error) { begin_waiting(error.what()); });
    OutboxProcessor processor{database_url, *connection, options};
    const auto forget = [this](const OutboxProcessor*) { forget_processor(); };
    const std::unique_ptr<const OutboxProcessor, decltype(forget)> known{&processor, forget};
    {
      const std::lock_guard lock{mutex_};
      processor_ = &processor;
    }
    processor.run(stop);
  } catch (const std::exception& error) {
    const std::lock_guard lock{mutex_};
    status_.phase = Phase::stopped;
    status_.since = now();
    status_.waiting_because = error.what();
    throw;
  }
}

void ProcessorRun::begin_waiting(const std::string& why) {
  const std::lock_guard lock{mutex_};
  if (status_.phase != Phase::waiting_for_broker) {
    status_ = {};
    status_.phase = Phase::waiting_for_broker;
    status_.since = now();
  }
  status_.waiting_because = why;
}

/// Its last status is kept.
void ProcessorRun::forget_processor() {
  const std::lock_guard lock{mutex_};
  status_ = processor_->status();
  processor_ = nullptr;
}

void ProcessorRun::notify() noexcept {
  const std::lock_guard lock{mutex_};
  if (processor_ != nullptr) processor_->notify();
}

ProcessorStatus ProcessorRun::status() const {
  const std::lock_guard lock{mutex_};
  return processor_ == nullptr ? status_ : processor_->status();
}

MonitorReport ProcessorRun::report(const HealthLimits& limits) const {
  const std::lock_guard lock{mutex_};
  return processor_ == nullptr ? report_of(status_, {}, limits) : processor_->report(limits);
}

}  // namespace tidings
