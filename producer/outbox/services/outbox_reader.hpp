#pragma once

// Reads the outbox for the scheduler: new rows in commit order, and the rows of an
// aggregate when its retry is due or what it left in the table can go on.

#include "infrastructure/commit_watch.hpp"
#include "services/outcome_writer.hpp"
#include "services/publish_scheduler.hpp"
#include "services/retry_schedule.hpp"

#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidings {

/// Not thread-safe. Throws DatabaseError.
class OutboxReader {
 public:
  OutboxReader(OutboxRepository& outbox, const OutboxProcessorOptions& options, PublishScheduler& scheduler,
               RetrySchedule& retries, OutcomeWriter& writer, CommitWatch& watch);

  /// Starts over at the oldest PENDING row; only when all outcomes are written, or at the start of a session.
  void rewind();

  /// Offers the scheduler what it has room for. True when that was something.
  bool read();

  /// The event with its data, of which only one large one is in memory at a time; else the same object. What
  /// is above `max_payload` is not read.
  [[nodiscard]] const OutboxEvent& whole(const OutboxEvent& event, std::int64_t max_payload);

  /// There may be new rows.
  void expect_rows() noexcept { may_have_more_ = true; }
  /// There may be rows that were not offered yet.
  [[nodiscard]] bool may_have_more() const noexcept { return may_have_more_; }
  /// Nothing is left to publish, nor to be tried again.
  [[nodiscard]] bool is_empty() {
    return !may_have_more_ && outbox_.count_pending() == 0 && outbox_.read_retries({}, 1).empty();
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool has_room(std::size_t rows) const;
  bool read_pending();
  void refill(PublishScheduler::Refill request);
  [[nodiscard]] Timestamp due(const OutboxEvent& row, const PublishScheduler::Refill& request);
  bool find_strays();

  OutboxRepository& outbox_;
  const OutboxProcessorOptions& options_;
  PublishScheduler& scheduler_;
  RetrySchedule& retries_;
  OutcomeWriter& writer_;
  CommitWatch& watch_;
  bool may_have_more_ = true;
  std::vector<OutboxEvent> rows_;  // keeps its memory
  OutboxEvent whole_;
  Clock::time_point looked_for_strays_{};
};

}  // namespace tidings
