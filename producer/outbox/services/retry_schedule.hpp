#pragma once

#include "services/forward_clock.hpp"

#include <tidings/outbox_event.hpp>
#include <tidings/outbox_processor.hpp>

namespace tidings {

/// The one place that says when a refused event is tried again, and after how many attempts it is a dead
/// letter. How many attempts there were is counted by PublishScheduler alone.
class RetrySchedule {
 public:
  explicit RetrySchedule(const OutboxProcessorOptions& options)
      : backoff_(options.backoff), max_retries_(options.max_retries), clock_(options.clock) {}

  [[nodiscard]] Timestamp now() { return clock_.now(); }

  [[nodiscard]] bool is_dead_letter(const OutboxEvent& event) const noexcept {
    return event.retry_count >= max_retries_;
  }

  /// When the event is due whose last attempt failed at `failed_at`.
  [[nodiscard]] Timestamp due(const OutboxEvent& event, Timestamp failed_at) {
    return clock_.after(failed_at, backoff_.delay(event.retry_count, event.id));
  }

  /// When a FAILED or PROCESSING row is due. PROCESSING is a retry whose end its processor did not see.
  [[nodiscard]] Timestamp due(const OutboxEvent& row) {
    return row.status == RowStatus::processing ? clock_.now() : due(row, row.updated_at);
  }

 private:
  Backoff backoff_;
  int max_retries_;
  ForwardClock clock_;
};

}  // namespace tidings
