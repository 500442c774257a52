#pragma once

// The time during which this process holds the lease of an outbox: reads what is
// pending, publishes it, and hands to the marker what became of it.

#include "infrastructure/commit_watch.hpp"
#include "services/forward_clock.hpp"
#include "services/outcome_writer.hpp"
#include "services/publish_scheduler.hpp"

#include <tidings/event_publisher.hpp>
#include <tidings/outbox_processor.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/processor_status.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>
#include <vector>

namespace tidings {

/// What a term shares with the processor that it belongs to; outlives it.
struct RelaySessionContext {
  Connection& connection;
  const OutboxProcessorOptions& options;
  CommitWatch& watch;
  SharedProcessorStatus& status;
  std::atomic<bool>& reconnected;  ///< NATS is back: do not wait any longer
  std::atomic<bool>& new_leader;   ///< the stream has one: what the old one did not answer stays unanswered
  std::atomic<bool>& notified;     ///< a commit in this process: look now
};

class RelaySession {
 public:
  /// `reading` and `writing` are connections of its own to the same database; the lease is held.
  RelaySession(RelaySessionContext context, Database& reading, Database& writing, Lease& lease);

  /// Returns when stopped, drained, or when the lease is lost. Throws DatabaseError from reading, and
  /// NatsError for what waiting cannot mend.
  void run(const std::stop_token& stop);

  [[nodiscard]] bool drained();

 private:
  using Clock = std::chrono::steady_clock;

  void load();
  void rewind();
  [[nodiscard]] Timestamp retry_time(const OutboxEvent& row);
  void take_outcomes();
  void take(PublishResult& outcome);
  void refuse(PublishResult& outcome);
  void mark(OutboxEvent event, RowStatus status, std::string error);
  void back_off(const std::string& why);
  void enter(ProcessorStatus::Phase phase, const std::string& why = {});
  [[nodiscard]] bool may_publish();
  [[nodiscard]] bool stream_is_there();
  [[nodiscard]] std::optional<int> replicas();
  bool read_rows();
  void refill(const PublishScheduler::Refill& request);
  bool look_for_strays();
  bool send();
  void wait();
  void finish();

  RelaySessionContext context_;
  const OutboxProcessorOptions& options_;
  std::unique_ptr<OutboxRepository> outbox_;
  OutcomeWriter writer_;
  EventPublisher publisher_;
  PublishScheduler scheduler_;
  ForwardClock clock_;  // for what is due

  bool more_rows_ = true;  // there may be rows that were not offered
  std::vector<OutboxEvent> rows_;
  std::vector<PublishResult> outcomes_;
  std::vector<Outcome> marks_;
  Clock::time_point polled_ = Clock::now();
  Clock::time_point looked_for_strays_{};
  Clock::time_point pause_until_{};
  std::chrono::milliseconds pause_;
  std::minstd_rand random_{std::random_device{}()};
  bool stream_checked_ = false;
  bool replicas_known_ = true;
  std::chrono::steady_clock::time_point ask_for_replicas_at_;
};

}  // namespace tidings
