#pragma once

// The time during which this process holds the lease of an outbox: publishes what is
// pending, and hands to the OutcomeWriter what became of it.

#include "infrastructure/commit_watch.hpp"
#include "services/broker_backoff.hpp"
#include "services/outbox_reader.hpp"
#include "services/outcome_writer.hpp"
#include "services/publish_scheduler.hpp"
#include "services/retry_rows.hpp"
#include "services/retry_schedule.hpp"
#include "services/shared_processor_status.hpp"

#include <tidings/event_publisher.hpp>
#include <tidings/outbox_processor.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

namespace tidings {

/// What a processor shares with its sessions. Any thread may set the flags, and then wakes the watch.
struct RelayContext {
  Connection& connection;
  const OutboxProcessorOptions options;
  const std::unique_ptr<CommitWatch> watch;
  SharedProcessorStatus status{};
  std::atomic<bool> reconnected{false};  ///< NATS is back: do not wait any longer
  std::atomic<bool> new_leader{false};   ///< of the stream: what the old one has not answered, nobody will
  std::atomic<bool> notified{false};     ///< a commit in this process: read now
};

class RelaySession {
 public:
  /// `reading` and `writing` are two connections to one database that nobody else uses; the lease is held.
  RelaySession(RelayContext& context, Database& reading, Database& writing, Lease& lease);

  /// Returns when stopped, when the lease is lost, or, with `drain`, when nothing is left to publish: only
  /// then true. Throws DatabaseError from reading, and NatsError for what waiting cannot mend.
  bool run(const std::stop_token& stop);

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] bool drained();
  void take_results();
  void take(PublishResult& result);
  [[nodiscard]] bool may_be_its_subject(const PublishResult& result);
  void suspect(PublishResult& result);
  void refuse(PublishResult& result);
  void look_at_backlog_if_due();
  void record(OutboxEvent event, RowStatus status, std::string error, Timestamp at);
  void wait_for_broker(const std::string& why);
  void enter(ProcessorStatus::Phase phase, const std::string& why = {});
  [[nodiscard]] bool may_publish();
  void check_stream();
  [[nodiscard]] bool large_events_wait();
  bool send();
  void wait(std::optional<Timestamp> read_at);
  void finish();

  RelayContext& context_;
  const OutboxProcessorOptions& options_;
  OutcomeWriter writer_;
  EventPublisher publisher_;
  PublishScheduler scheduler_;
  RetrySchedule retries_;
  const std::unique_ptr<OutboxRepository> outbox_;
  RetryRows retry_rows_;
  OutboxReader reader_;

  std::vector<PublishResult> results_;  // these three keep their memory
  std::vector<PublishRequest> batch_;
  std::vector<Outcome> outcomes_;
  Clock::time_point polled_ = Clock::now();

  std::size_t large_bytes_ = 0;  // of events whose data was read when they were sent, in flight

  Clock::time_point look_at_backlog_at_{};
  ProcessorFigures counted_;  // by type, since they were told last

  BrokerBackoff backoff_;
  bool stream_told_ = false;  // what is to be said about it
};

}  // namespace tidings
