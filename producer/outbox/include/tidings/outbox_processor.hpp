#pragma once

// The background outbox processor: takes the lease, publishes in commit order with many events in flight,
// writes back what the stream has confirmed, retries what it refused, and cleans up.

#include <tidings/backoff.hpp>
#include <tidings/connection.hpp>
#include <tidings/event_publisher.hpp>
#include <tidings/monitor_report.hpp>
#include <tidings/processor_status.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

namespace tidings {

/// The limits are in services/outbox_processor.cpp, for values from the environment and from code.
struct OutboxProcessorOptions {
  std::chrono::milliseconds processing_interval{5000};  ///< reads at least this often, woken or not
  std::chrono::milliseconds cleanup_interval{std::chrono::hours{1}};
  std::chrono::days retention{7};  ///< of PUBLISHED rows; 0 deletes a row instead of setting it to PUBLISHED
  int max_retries = 5;             ///< failed attempts until an event is a dead letter
  Backoff backoff;
  /// Of a row that another program has set to PROCESSING: it counts as left behind so long after its
  /// updatedAt.
  std::chrono::milliseconds processing_timeout{60000};
  int batch_size = 2048;                   ///< events in flight at most
  std::chrono::milliseconds lease{10000};  ///< another processor may take over this long after a renewal
  bool manage_stream = true;               ///< create the stream when it is missing
  int stream_replicas = 1;                 ///< of a stream that is created; an existing one must have as many
  bool drain = false;                      ///< run() returns once nothing is left to publish
  PublisherOptions publisher;

  /// For backoff and cleanup; replaced in tests that must not wait for days.
  std::function<Timestamp()> clock = [] { return now(); };

  /// The defaults above, except for what OUTBOX_* sets. Throws SettingError.
  [[nodiscard]] static OutboxProcessorOptions from_environment();

  /// Throws SettingError for a value outside of its limits, with the name of its setting.
  void validate() const;
};

class OutboxProcessor {
 public:
  /// Connects as Connection's constructor does, which see. While it waits for NATS, `tidings outbox stats`
  /// shows what for, unless another processor is at work there; `failed` is told each time that it cannot
  /// connect. A database that is away is no error here.
  [[nodiscard]] static std::unique_ptr<Connection> connect(
      const std::string& database_url, ConnectionOptions options, const std::stop_token& stop,
      const std::function<void(const Error&)>& failed = {});

  /// Opens its own connections to the database at `database_url`, as in DATABASE_URL. `connection` may be
  /// shared with consumers and other processors, and must outlive this. Throws SettingError for an option
  /// outside of its limits.
  OutboxProcessor(std::string database_url, Connection& connection, OutboxProcessorOptions options = {});
  ~OutboxProcessor();

  /// Works until `stop` is requested (then confirms what is in flight, writes that back and releases the
  /// lease), or, with `drain`, until nothing is left. Waits for a broker or database that is away. Throws
  /// Error for what waiting cannot mend (no such table, a stream that differs).
  void run(const std::stop_token& stop);

  /// After a commit in this process: read the outbox now. Thread-safe.
  void notify() noexcept;

  /// Thread-safe.
  [[nodiscard]] ProcessorStatus status() const;

  /// The same with more figures, for MonitorServer. Thread-safe; waits for nothing.
  [[nodiscard]] MonitorReport report(const HealthLimits& limits = {}) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidings
