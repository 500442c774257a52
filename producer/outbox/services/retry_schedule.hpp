#pragma once

#include <tidings/outbox_event.hpp>
#include <tidings/outbox_processor.hpp>

#include <algorithm>
#include <chrono>
#include <optional>

namespace tidings {

/// The one place that says when a refused event is tried again, and after how many attempts it is a dead
/// letter. How many attempts there were is counted by PublishScheduler alone.
class RetrySchedule {
 public:
  explicit RetrySchedule(const OutboxProcessorOptions& options)
      : options_(options), latest_(options.clock()), begun_(latest_) {}

  /// Wall-clock time that never goes back: when the clock is set back, this goes on from where it was, so
  /// that what was due in a second is not due in an hour.
  [[nodiscard]] Timestamp now() {
    const auto time = options_.clock() + ahead_;
    if (time < latest_) ahead_ += latest_ - time;
    latest_ = std::max(latest_, time);
    return latest_;
  }

  [[nodiscard]] bool is_dead_letter(const OutboxEvent& event) const noexcept {
    return event.retry_count >= options_.max_retries;
  }

  /// When the event is due whose last attempt failed at `failed_at` by the wall clock. A time that lies ahead
  /// of that clock counts as now.
  [[nodiscard]] Timestamp due(const OutboxEvent& event, Timestamp failed_at) {
    return after(options_.backoff.delay(event.retry_count, event.id), failed_at);
  }

  /// When a FAILED or PROCESSING row is due that is not in memory. PROCESSING is a retry whose end its
  /// processor did not see, or another program's, which may still work on it.
  [[nodiscard]] Timestamp due(const OutboxEvent& row) {
    if (row.status == RowStatus::processing && !may_be_ours(row))
      return after(options_.processing_timeout, row.updated_at);
    return due(row, row.updated_at);
  }

  /// When a row is looked at again although it is not due: its processor may be at work on it, and end that
  /// soon.
  [[nodiscard]] std::optional<Timestamp> look_again(const OutboxEvent& row) {
    if (row.status != RowStatus::processing) return std::nullopt;
    return now() + options_.processing_interval;
  }

 private:
  /// A processor of ours sets no row to PROCESSING but one that has failed and whose delay is over, and
  /// leaves updatedAt as it is. Such rows are left by the holders of the lease before this one.
  [[nodiscard]] bool may_be_ours(const OutboxEvent& row) const {
    return row.retry_count > 0 && row.updated_at < begun_ &&
           options_.clock() - row.updated_at >= options_.backoff.delay(row.retry_count, row.id);
  }

  /// A begin that lies ahead counts as now.
  [[nodiscard]] Timestamp after(std::chrono::milliseconds delay, Timestamp begin) {
    const std::chrono::milliseconds passed = options_.clock() - begin;
    return now() + (delay - std::clamp(passed, std::chrono::milliseconds{0}, delay));
  }

  const OutboxProcessorOptions& options_;
  std::chrono::milliseconds ahead_{0};  // how far now() is ahead of a wall clock that was set back
  Timestamp latest_;
  const Timestamp begun_;
};

}  // namespace tidings
