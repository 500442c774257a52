#pragma once

// The consumer's status: set by its session, read by any thread.

#include <tidings/consumer_status.hpp>

#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

namespace tidings {

class SharedStatus {
 public:
  /// `changed` is called at each change, by the thread that sets it.
  explicit SharedStatus(std::function<void(const ConsumerStatus&)> changed) : changed_(std::move(changed)) {}

  void set(ConsumerStatus::State state, const std::string& reason = {});
  [[nodiscard]] ConsumerStatus get() const;

 private:
  const std::function<void(const ConsumerStatus&)> changed_;
  mutable std::mutex mutex_;
  ConsumerStatus status_{.since = std::chrono::system_clock::now()};
};

}  // namespace tidings
