#pragma once

// The consumer: joins a group on a stream, and runs one handler per event type
// inside the inbox's transaction.
//
//   return               commit, then ack
//   throw Reject         dead letter now
//   throw RetryAfter     redelivered after that delay
//   any other exception  rolled back, redelivered with exponential backoff,
//                        dead letter after `max_attempts`
//
// Effects inside the transaction happen once among instances that share the
// inbox. Effects outside of it (mail, HTTP) happen at least once.
//
// Handlers that wait for other services run side by side when `workers` is set
// (concurrent mode): then there is no transaction for them, and the event's inbox
// row is committed after its handler has succeeded.

#include <tidings/backoff.hpp>
#include <tidings/connection.hpp>
#include <tidings/delivery.hpp>
#include <tidings/inbox.hpp>
#include <tidings/settings.hpp>
#include <tidings/sqlite_inbox.hpp>
#include <tidings/stop_signals.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace tidings {

/// How often and how soon a type's events are tried again, where it differs from the consumer's options.
struct RetryPolicy {
  std::optional<int> max_attempts{};
  std::optional<Backoff> backoff{};
};

/// An attempt that failed, or a message that could not be one.
struct Failure {
  const Delivery& delivery;
  const std::string& reason;
  bool dead_letter;                 ///< else it is tried again
  int attempts;                     ///< starts of a handler so far
  std::chrono::milliseconds delay;  ///< until the next attempt
};

/// Whether the consumer does its work, for a health check: ready when it runs.
struct ConsumerStatus {
  enum class State { stopped, joining, running, waiting, draining };
  State state = State::stopped;
  std::string reason{};  ///< of waiting: what it waits for (NATS, the inbox, a worker)
  std::chrono::system_clock::time_point since{};

  [[nodiscard]] bool ready() const noexcept { return state == State::running; }
};

/// What is set here in code wins; what is not comes from the environment variable named
/// beside it, or else is the default. All checked when the consumer is built.
struct ConsumerOptions {
  std::string group = settings::text_or("CONSUMER_GROUP", "");  ///< [A-Za-z0-9_-], below 32 characters

  std::string stream = settings::text_or("OUTBOX_STREAM", "AUTH_EVENTS");
  std::string subject_prefix = settings::text_or("OUTBOX_SUBJECT_PREFIX", "auth.events");
  std::string dead_letter_stream = "AUTH_DLQ";
  std::string dead_letter_prefix = "auth.dlq";
  bool manage_streams = true;  ///< make missing streams and the group's durable consumer
  /// Of streams that it makes, 1 to 5; one that is there with fewer is an error when it manages them.
  int replicas = static_cast<int>(settings::integer_or("OUTBOX_STREAM_REPLICAS", 1, 1, 5));

  /// AttemptRecord of a handler before the dead letter.
  int max_attempts = static_cast<int>(settings::integer_or("CONSUMER_MAX_ATTEMPTS", 5, 1, 1000));
  Backoff backoff = Backoff::from_environment("CONSUMER_BACKOFF_BASE_MS", "CONSUMER_BACKOFF_MAX_MS");
  /// Unacked for this long, a message goes to another instance. Used when the durable is made;
  /// an existing one keeps its own.
  std::chrono::milliseconds ack_wait =
      settings::milliseconds_or("CONSUMER_ACK_WAIT_MS", std::chrono::seconds{30},
                                std::chrono::milliseconds{100}, std::chrono::hours{1});

  /// While an event waits for its retry, this instance gives later events of its aggregate (its partition
  /// key) back to the group instead of handling them: they would overtake it.
  bool hold_back = true;

  /// 0: transactional mode. More, up to 1024: concurrent mode, with so many handlers at once, one for each
  /// aggregate. Handlers are called on several threads then, and take no transaction.
  int workers = 0;

  /// A handler that runs longer loses its message: it is tried again, here or elsewhere, as after a failure,
  /// and what the late handler has done in the transaction or returns is of no effect. At least 100 ms.
  std::chrono::milliseconds handler_time_limit{std::chrono::minutes{5}};

  int max_batch = 500;  ///< messages a transaction, 1 to 10000
  /// Messages asked for ahead of handling, max_batch to 100000; in concurrent mode 8 for each worker at most,
  /// so that other instances have their share. An existing push consumer has its own limit.
  int prefetch = 2000;
  std::size_t prefetch_bytes = 16U << 20U;       ///< the same in bytes, about; 64 KiB or more
  std::chrono::milliseconds max_batch_time{20};  ///< a batch commits when it has run this long

  enum class Unhandled { ack, dead_letter };
  Unhandled unhandled = Unhandled::ack;  ///< what becomes of a type without a handler

  std::chrono::hours inbox_retention{24 * 30};  ///< ids are remembered this long
  std::optional<std::chrono::milliseconds>
      exit_when_idle{};  ///< run() returns after this long without a message, outages not counted
  std::chrono::milliseconds drain_timeout{5000};  ///< for finishing and flushing after a stop request

  // Called on the thread of run(), between transactions; what they throw ends the run.
  std::function<void(const Failure&)> on_failure{};        ///< of an attempt; those held back are none
  std::function<void(const ConsumerStatus&)> on_status{};  ///< at each change

  ConnectionOptions connection = ConnectionOptions::from_environment();
};

/// Counts since the consumer was built, and figures of now.
struct ConsumerStats {
  std::uint64_t received = 0;    ///< messages taken from the stream, redeliveries included
  std::uint64_t handled = 0;     ///< handler succeeded and its transaction is committed
  std::uint64_t duplicates = 0;  ///< id was in the inbox: acked without a second effect
  std::uint64_t retried = 0;     ///< handler failed, will be redelivered
  std::uint64_t held_back = 0;   ///< given back unstarted, behind one of its aggregate that is retried
  std::uint64_t dead_lettered = 0;
  std::uint64_t ignored = 0;  ///< no handler for the type
  std::uint64_t fenced = 0;   ///< handler ended too late: without effect, the message was tried again
  std::uint64_t commits = 0;

  std::uint64_t in_flight = 0;  ///< at hand: waiting for a handler, in one, or for its commit
  std::uint64_t lag = 0;        ///< on the stream and handed to no instance yet, as last seen (10 s at most)
  std::uint64_t last_commit_size = 0;  ///< messages settled by the last commit
  // Over the last one to two minutes, 0 when nothing was handled.
  std::chrono::microseconds handling_p50{}, handling_p99{};  ///< of a handler
  std::chrono::microseconds age_p50{}, age_p99{};  ///< from the event's time (or storing) to the commit
};

/// The engine under Consumer: everything that does not depend on the inbox's type.
class ConsumerEngine {
 public:
  using Handler = std::function<void(const Delivery&)>;

  ConsumerEngine(Inbox& inbox, ConsumerOptions options);
  ~ConsumerEngine();
  ConsumerEngine(const ConsumerEngine&) = delete;
  ConsumerEngine& operator=(const ConsumerEngine&) = delete;

  enum class Takes { transaction, no_transaction };

  void on(const std::string& type, Handler handler, Takes takes, RetryPolicy retry);
  void run(const std::stop_token& stop);
  [[nodiscard]] ConsumerStats stats() const;
  [[nodiscard]] ConsumerStatus status() const;

  struct State;  ///< opaque

 private:
  std::unique_ptr<State> state_;
};

/// `InboxType` decides what handlers get: SqliteInbox gives a SQLite::Database&.
template <class InboxType>
class Consumer {
 public:
  using Transaction = typename InboxType::Transaction;

  /// Throws SettingError naming the option that cannot be used. Does not connect yet.
  explicit Consumer(InboxType& inbox, ConsumerOptions options = {})
      : inbox_(inbox), engine_(inbox, std::move(options)) {}

  /// `handler(const T&, Transaction&, const Delivery&)`, or `handler(const T&, const Delivery&)`, the
  /// only one in concurrent mode; T is read from the event's data by nlohmann/json
  /// (NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE). Data that T cannot be read from goes to the dead letters at
  /// once. Throws Error when the type has a handler or the consumer runs.
  template <class T, class Handler>
  Consumer& on(const std::string& type, Handler handler, RetryPolicy retry = {}) {
    if constexpr (std::is_invocable_v<Handler&, const T&, Transaction&, const Delivery&>) {
      engine_.on(
          type,
          [this, handler = std::move(handler)](const Delivery& delivery) mutable {
            handler(read<T>(delivery.event), inbox_.transaction(), delivery);
          },
          ConsumerEngine::Takes::transaction, std::move(retry));
    } else {
      static_assert(
          std::is_invocable_v<Handler&, const T&, const Delivery&>,
          "a handler takes (const T&, Transaction&, const Delivery&) or (const T&, const Delivery&)");
      engine_.on(
          type,
          [handler = std::move(handler)](const Delivery& delivery) mutable {
            handler(read<T>(delivery.event), delivery);
          },
          ConsumerEngine::Takes::no_transaction, std::move(retry));
    }
    return *this;
  }

  /// Consumes until SIGINT or SIGTERM, then drains. Waits for a broker or an inbox that is
  /// away. Throws Error when waiting cannot help (refused login, a stream that differs).
  void run() {
    StopSignals signals;
    run(signals.token());
  }

  /// The same until `stop` is requested.
  void run(const std::stop_token& stop) { engine_.run(stop); }

  // Thread-safe.
  [[nodiscard]] ConsumerStats stats() const { return engine_.stats(); }
  [[nodiscard]] ConsumerStatus status() const { return engine_.status(); }

 private:
  template <class T>
  static T read(const Event& event) {
    auto json = event.json();
    try {
      return json.template get<T>();
    } catch (const nlohmann::json::exception& error) {
      throw Undecodable("data of " + event.type + " does not fit the handler's type: " + error.what());
    }
  }

  InboxType& inbox_;
  ConsumerEngine engine_;
};

template <class InboxType>
Consumer(InboxType&, ConsumerOptions) -> Consumer<InboxType>;

}  // namespace tidings
