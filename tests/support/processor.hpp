#pragma once

// A processor in the test's own process, where its clock can be a test's.

#include "support/outbox.hpp"

#include <tidings/outbox_processor.hpp>

#include <chrono>
#include <exception>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace tidings::test {

/// Retries within milliseconds. Reads when it is woken, for its polls are further apart than a test is long.
inline OutboxProcessorOptions quick() {
  OutboxProcessorOptions options;
  options.processing_interval = std::chrono::minutes{1};
  options.backoff = {.base = std::chrono::milliseconds{20}, .max = std::chrono::milliseconds{200}};
  return options;
}

/// Also polls, and is succeeded soon when it has died.
inline OutboxProcessorOptions quick_polling() {
  auto options = quick();
  options.processing_interval = std::chrono::milliseconds{100};
  options.lease = std::chrono::seconds{1};
  return options;
}

/// Works in a thread of its own until stop() or its end.
class Processor {
 public:
  Processor(const Outbox& outbox, const std::string& url, OutboxProcessorOptions options)
      : Processor(outbox.url(), url, std::move(options)) {}
  Processor(const std::string& database, const std::string& url, OutboxProcessorOptions options)
      : connection_(ConnectionOptions{.urls = {url}}, stop_.get_token()),
        processor_(database, connection_, std::move(options)),
        thread_([this] { run(); }) {}
  ~Processor() { stop(); }
  Processor(const Processor&) = delete;
  Processor& operator=(const Processor&) = delete;

  void stop() {
    stop_.request_stop();
    if (thread_.joinable()) thread_.join();
  }
  void join() { thread_.join(); }  ///< waits for an end of its own
  void notify() { processor_.notify(); }
  [[nodiscard]] ProcessorStatus status() const { return processor_.status(); }
  [[nodiscard]] MonitorReport report(const HealthLimits& limits = {}) const {
    return processor_.report(limits);
  }
  [[nodiscard]] ProcessorStatus::Phase phase() const { return status().phase; }
  [[nodiscard]] bool active() const { return status().phase == ProcessorStatus::Phase::active; }
  /// What run() threw. Only after stop() or join().
  [[nodiscard]] std::string error() const { return error_; }

 private:
  void run() {
    try {
      processor_.run(stop_.get_token());
    } catch (const std::exception& error) {
      error_ = error.what();
    }
  }

  std::stop_source stop_;
  Connection connection_;
  OutboxProcessor processor_;
  std::string error_;
  std::thread thread_;
};

}  // namespace tidings::test
