#pragma once

#include "loop_pulse.hpp"
#include "services/processor_figures.hpp"

#include <tidings/processor_status.hpp>

#include <spdlog/spdlog.h>

#include <atomic>
#include <mutex>
#include <string>

namespace tidings {

/// The processor's status, which its threads write and any thread may read.
class SharedProcessorStatus {
 public:
  using Phase = ProcessorStatus::Phase;

  /// Logs the change; false when there is none. Why it waits for the database is told as by database_fails().
  bool enter(Phase next, const std::string& why = {}) {
    {
      const std::lock_guard lock{mutex_};
      if (status_.phase == next) return false;
      status_.phase = next;
      status_.since = now();
      status_.waiting_because = why;
    }
    const bool waiting = next == Phase::waiting_for_broker || next == Phase::waiting_for_database;
    if (next == Phase::active || next == Phase::standby) failure_told_ = false;
    const bool told = next == Phase::waiting_for_database && !why.empty() && failure_told_.exchange(true);
    spdlog::log(waiting ? spdlog::level::warn : spdlog::level::info, "outbox processor {}{}{}",
                to_string(next), why.empty() || told ? "" : ": ", told ? "" : why);
    return true;
  }

  /// Each thread may meet for itself what is wrong with the database. The first one's error is logged, and
  /// no other until the database works again.
  void database_fails(const std::string& why) {
    if (!failure_told_.exchange(true)) spdlog::warn("outbox: {}; trying again", why);
  }
  void database_works() {
    if (failure_told_ && failure_told_.exchange(false)) spdlog::info("outbox: the database works again");
  }

  /// `change` gets the status to write to; it must not throw or enter().
  template <class Change>
  void update(Change&& change) {
    const std::lock_guard lock{mutex_};
    change(status_);
  }

  /// The same for the figures.
  template <class Change>
  void update_figures(Change&& change) {
    const std::lock_guard lock{mutex_};
    change(figures_);
  }
  /// Takes what was counted by type; once for many events, since others may be reading.
  void add_counts(ProcessorFigures& counted) {
    if (counted.by_type.empty()) return;
    const std::lock_guard lock{mutex_};
    for (const auto& [type, counts] : counted.by_type) {
      auto& all = figures_.of(type);
      all.published += counts.published;
      all.refused += counts.refused;
      all.dead_lettered += counts.dead_lettered;
    }
    counted.by_type.clear();
  }
  [[nodiscard]] ProcessorFigures figures() const {
    std::unique_lock lock{mutex_};
    auto figures = figures_;
    lock.unlock();
    figures.reading_for = reading.busy_for();
    figures.writing_for = writing.busy_for();
    figures.sending_for = sending.busy_for();
    return figures;
  }

  LoopPulse reading;  ///< of the thread of run(), but where it waits for NATS
  LoopPulse sending;  ///< of the same thread, where it does
  LoopPulse writing;  ///< of the OutcomeWriter

  [[nodiscard]] ProcessorStatus read() const {
    const std::lock_guard lock{mutex_};
    return status_;
  }

 private:
  mutable std::mutex mutex_;
  ProcessorStatus status_;    // under mutex
  ProcessorFigures figures_;  // under mutex; without how long the loops are busy
  std::atomic<bool> failure_told_{false};
};

}  // namespace tidings
