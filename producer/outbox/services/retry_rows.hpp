#pragma once

// The FAILED and PROCESSING rows of the table, whose aggregates wait for them: those that are there when a
// session begins, and those that other programs leave meanwhile.

#include "services/outcome_writer.hpp"
#include "services/publish_scheduler.hpp"
#include "services/retry_schedule.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>

#include <chrono>

namespace tidings {

/// Not thread-safe. Throws DatabaseError.
class RetryRows {
 public:
  RetryRows(OutboxRepository& outbox, const OutboxProcessorOptions& options, PublishScheduler& scheduler,
            RetrySchedule& retries, const OutcomeWriter& writer);

  /// At the start of a session: tells the scheduler which aggregates are blocked.
  void load();

  /// A processor of another kind may work on the same table. Reads a page at a time, and where there are
  /// many, for a fiftieth of the time.
  void look_if_due();
  [[nodiscard]] std::chrono::steady_clock::time_point next_look() const noexcept { return look_at_; }

 private:
  using Clock = std::chrono::steady_clock;

  OutboxRepository& outbox_;
  const OutboxProcessorOptions& options_;
  PublishScheduler& scheduler_;
  RetrySchedule& retries_;
  const OutcomeWriter& writer_;
  Clock::time_point look_at_{}, look_begun_{};
  OutboxPosition looked_up_to_;  // in a look that goes on; its beginning where there is none
};

}  // namespace tidings
