#pragma once

// The background outbox processor: takes the lease, publishes in commit order
// with many events in flight, writes back what the stream has confirmed, retries
// what it refused, and cleans up.

#include <tidings/backoff.hpp>
#include <tidings/connection.hpp>
#include <tidings/event_publisher.hpp>
#include <tidings/processor_status.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

namespace tidings {

struct OutboxProcessorOptions {
  std::chrono::milliseconds processing_interval =
      settings::milliseconds_or("OUTBOX_PROCESSING_INTERVAL_MS", std::chrono::seconds{5},
                                std::chrono::milliseconds{10}, std::chrono::hours{24});
  std::chrono::milliseconds cleanup_interval =
      settings::milliseconds_or("OUTBOX_CLEANUP_INTERVAL_MS", std::chrono::hours{1},
                                std::chrono::milliseconds{10}, std::chrono::hours{24 * 30});
  /// 0 deletes a row as soon as it is published, instead of marking it.
  std::chrono::days retention{settings::integer_or("OUTBOX_RETENTION_DAYS", 7, 0, 36500)};
  int max_retries = static_cast<int>(settings::integer_or("OUTBOX_MAX_RETRIES", 5, 1, 1000));
  Backoff backoff = Backoff::from_environment("OUTBOX_BACKOFF_BASE_MS", "OUTBOX_BACKOFF_MAX_MS");
  /// Events in flight at most.
  int batch_size = static_cast<int>(settings::integer_or("OUTBOX_BATCH_SIZE", 2048, 1, 100000));
  std::chrono::milliseconds lease = settings::milliseconds_or(
      "OUTBOX_LEASE_MS", std::chrono::seconds{10}, std::chrono::milliseconds{500}, std::chrono::hours{1});
  bool manage_stream = true;
  /// Of the stream when it is made; one that is there with fewer is an error.
  int stream_replicas = static_cast<int>(settings::integer_or("OUTBOX_STREAM_REPLICAS", 1, 1, 5));
  bool drain = false;  ///< run() returns once nothing is left to publish
  PublisherOptions publisher;

  /// For backoff and cleanup; replaced in tests that must not wait for days.
  std::function<Timestamp()> clock = [] { return now(); };
};

class OutboxProcessor {
 public:
  /// Opens its own connections to the database at `database_url`, as in DATABASE_URL.
  OutboxProcessor(std::string database_url, Connection& connection, OutboxProcessorOptions options = {});
  ~OutboxProcessor();

  /// Works until `stop` is requested (then confirms what is in flight, marks it and hands the
  /// lease back), or, with `drain`, until nothing is left. Broker or database being away is waited
  /// for. Throws Error for what waiting cannot mend (no such table, a stream that differs).
  void run(const std::stop_token& stop);

  /// After a commit in this process: look now. Thread-safe.
  void notify() noexcept;

  /// Thread-safe.
  [[nodiscard]] ProcessorStatus status() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidings
