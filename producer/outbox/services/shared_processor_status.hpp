#pragma once

#include <tidings/processor_status.hpp>

#include <spdlog/spdlog.h>

#include <mutex>
#include <string>

namespace tidings {

/// The processor's status, which its threads write and any thread may read.
class SharedProcessorStatus {
 public:
  using Phase = ProcessorStatus::Phase;

  /// Logs the change; false when there is none.
  bool enter(Phase next, const std::string& why = {}) {
    {
      const std::lock_guard lock{mutex_};
      if (status_.phase == next) return false;
      status_.phase = next;
      status_.since = now();
      status_.waiting_because = why;
    }
    const bool waiting = next == Phase::waiting_for_broker || next == Phase::waiting_for_database;
    spdlog::log(waiting ? spdlog::level::warn : spdlog::level::info, "outbox processor {}{}{}",
                to_string(next), why.empty() ? "" : ": ", why);
    return true;
  }

  /// `change` gets the status to write to; it must not throw or enter().
  template <class Change>
  void update(Change&& change) {
    const std::lock_guard lock{mutex_};
    change(status_);
  }

  [[nodiscard]] ProcessorStatus read() const {
    const std::lock_guard lock{mutex_};
    return status_;
  }

 private:
  mutable std::mutex mutex_;
  ProcessorStatus status_;
};

}  // namespace tidings
