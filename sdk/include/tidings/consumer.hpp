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

#include <tidings/backoff.hpp>
#include <tidings/connection.hpp>
#include <tidings/delivery.hpp>
#include <tidings/inbox.hpp>
#include <tidings/settings.hpp>
#include <tidings/sqlite_inbox.hpp>
#include <tidings/stop_signals.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace tidings {

/// What is set here in code wins; what is not comes from the environment variable named
/// beside it, or else is the default. All checked when the consumer is built.
struct ConsumerOptions {
  std::string group = settings::text_or("CONSUMER_GROUP", "");  ///< [A-Za-z0-9_-], below 32 characters

  std::string stream = settings::text_or("OUTBOX_STREAM", "AUTH_EVENTS");
  std::string subject_prefix = settings::text_or("OUTBOX_SUBJECT_PREFIX", "auth.events");
  std::string dead_letter_stream = "AUTH_DLQ";
  std::string dead_letter_prefix = "auth.dlq";
  bool manage_streams = true;  ///< make missing streams and the group's durable consumer

  /// Starts of a handler before the dead letter.
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

  int max_batch = 500;  ///< messages a transaction, 1 to 10000
  int prefetch = 2000;  ///< messages asked for ahead of handling, max_batch to 100000
  std::chrono::milliseconds max_batch_time{20};  ///< a batch commits when it has run this long

  enum class Unhandled { ack, dead_letter };
  Unhandled unhandled = Unhandled::ack;  ///< what becomes of a type without a handler

  std::chrono::hours inbox_retention{24 * 30};  ///< ids are remembered this long
  std::optional<std::chrono::milliseconds>
      exit_when_idle{};                           ///< run() returns after this long without a message
  std::chrono::milliseconds drain_timeout{5000};  ///< for finishing and flushing after a stop request

  ConnectionOptions connection = ConnectionOptions::from_environment();
};

/// Counts since the consumer was built.
struct ConsumerStats {
  std::uint64_t received = 0;    ///< messages taken from the stream, redeliveries included
  std::uint64_t handled = 0;     ///< handler succeeded and its transaction is committed
  std::uint64_t duplicates = 0;  ///< id was in the inbox: acked without a second effect
  std::uint64_t retried = 0;     ///< handler failed, will be redelivered
  std::uint64_t held_back = 0;   ///< given back unstarted, behind one of its aggregate that is retried
  std::uint64_t dead_lettered = 0;
  std::uint64_t ignored = 0;  ///< no handler for the type
  std::uint64_t commits = 0;
};

/// The engine under Consumer: everything that does not depend on the inbox's type.
class ConsumerEngine {
 public:
  using Handler = std::function<void(const Delivery&)>;

  ConsumerEngine(Inbox& inbox, ConsumerOptions options);
  ~ConsumerEngine();
  ConsumerEngine(const ConsumerEngine&) = delete;
  ConsumerEngine& operator=(const ConsumerEngine&) = delete;

  void on(const std::string& type, Handler handler);
  void run(const std::stop_token& stop);
  [[nodiscard]] ConsumerStats stats() const;

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

  /// `handler(const T&, Transaction&, const Delivery&)`; T is read from the event's data by
  /// nlohmann/json (NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE). Data that T cannot be read from goes
  /// to the dead letters at once. Throws Error when the type has a handler or the consumer runs.
  template <class T, class Handler>
  Consumer& on(const std::string& type, Handler handler) {
    engine_.on(type, [this, handler = std::move(handler)](const Delivery& delivery) mutable {
      handler(read<T>(delivery.event), inbox_.transaction(), delivery);
    });
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

  /// Thread-safe.
  [[nodiscard]] ConsumerStats stats() const { return engine_.stats(); }

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
