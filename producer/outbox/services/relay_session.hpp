#pragma once

// The time during which this process holds the lease of an outbox: publishes what is
// pending, and hands to the OutcomeWriter what became of it.

#include "infrastructure/commit_watch.hpp"
#include "services/outbox_reader.hpp"
#include "services/outcome_writer.hpp"
#include "services/publish_scheduler.hpp"
#include "services/retry_pause.hpp"
#include "services/retry_schedule.hpp"
#include "services/shared_processor_status.hpp"
#include "services/stream_check.hpp"

#include <tidings/event_publisher.hpp>
#include <tidings/outbox_processor.hpp>

#include <atomic>
#include <chrono>
#include <stop_token>
#include <string>
#include <vector>

namespace tidings {

/// What a session shares with its processor, which outlives it.
struct RelaySessionContext {
  Connection& connection;
  const OutboxProcessorOptions& options;
  CommitWatch& watch;
  SharedProcessorStatus& status;
  std::atomic<bool>& reconnected;  ///< NATS is back: do not wait any longer
  std::atomic<bool>& new_leader;   ///< the stream has one: what the old one did not answer stays unanswered
  std::atomic<bool>& notified;     ///< a commit in this process: read now
};

class RelaySession {
 public:
  /// `reading` and `writing` are two connections to the same database that nobody else uses; the lease is
  /// held.
  RelaySession(RelaySessionContext context, Database& reading, Database& writing, Lease& lease);

  /// Returns when stopped, drained, or when the lease is lost. Throws DatabaseError from reading, and
  /// NatsError for what waiting cannot mend.
  void run(const std::stop_token& stop);

  [[nodiscard]] bool drained();

 private:
  using Clock = std::chrono::steady_clock;

  void take_results();
  void take(PublishResult& result);
  void refuse(PublishResult& result);
  void record(OutboxEvent event, RowStatus status, std::string error);
  void wait_for_broker(const std::string& why);
  void enter(ProcessorStatus::Phase phase, const std::string& why = {});
  [[nodiscard]] bool may_publish();
  [[nodiscard]] bool check_stream();
  bool send();
  void wait();
  void finish();

  RelaySessionContext context_;
  const OutboxProcessorOptions& options_;
  OutcomeWriter writer_;
  EventPublisher publisher_;
  PublishScheduler scheduler_;
  RetrySchedule retries_;
  OutboxReader reader_;
  StreamCheck stream_;

  std::vector<PublishResult> results_;  // these two keep their memory
  std::vector<Outcome> outcomes_;
  Clock::time_point polled_ = Clock::now();
  RetryPause pause_;
  Clock::time_point paused_until_{};
};

}  // namespace tidings
