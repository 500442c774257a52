#pragma once

#include <tidings/processor_status.hpp>

#include <mutex>
#include <string>

namespace tidings {

/// The processor's status, which its threads write and any thread may read.
class SharedProcessorStatus {
 public:
  using Phase = ProcessorStatus::Phase;

  /// True when that is a change, which is logged.
  bool enter(Phase next, const std::string& why = {});

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
