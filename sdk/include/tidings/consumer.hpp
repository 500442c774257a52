#pragma once

// The consumer: joins a group on a stream and runs one handler per event type in the inbox's transaction.
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
// Handlers that wait for other services run side by side when `workers` is set (concurrent mode): then there
// is no transaction for them, and the event's inbox row is committed after its handler has succeeded.

#include <tidings/consumer_options.hpp>
#include <tidings/consumer_status.hpp>
#include <tidings/delivery.hpp>
#include <tidings/stop_signals.hpp>

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

namespace tidings {

class Inbox;
struct ConsumerContext;

/// The engine under Consumer: everything that does not depend on the inbox's type.
class ConsumerEngine {
 public:
  using Handler = std::function<void(const Delivery&)>;

  ConsumerEngine(Inbox& inbox, ConsumerOptions options);
  ~ConsumerEngine();

  enum class Takes { transaction, no_transaction };

  void on(const std::string& type, Handler handler, Takes takes, RetryPolicy retry);
  void run(const std::stop_token& stop);
  [[nodiscard]] ConsumerStats stats() const;
  [[nodiscard]] ConsumerStatus status() const;

 private:
  std::unique_ptr<ConsumerContext> state_;
};

/// `InboxType` decides what handlers get: a SQLite::Database& (SqliteInbox) or a PostgresTransaction&.
template <class InboxType>
class Consumer {
 public:
  using Transaction = typename InboxType::Transaction;

  /// Throws SettingError naming the option that cannot be used. Does not connect yet.
  explicit Consumer(InboxType& inbox, ConsumerOptions options = ConsumerOptions::from_environment())
      : inbox_(inbox), engine_(inbox.tables(), std::move(options)) {}

  /// `handler(const T&, Transaction&, const Delivery&)`, or `handler(const T&, const Delivery&)`, the
  /// only one in concurrent mode; T is read from the event's data by nlohmann/json
  /// (NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE). Data that T cannot be read from goes to the dead letters at
  /// once. Throws Error when the type has a handler or the consumer runs.
  template <class T, class Handler>
  Consumer& on(const std::string& type, Handler handler, RetryPolicy retry = {}) {
    constexpr bool with_transaction = std::is_invocable_v<Handler&, const T&, Transaction&, const Delivery&>;
    static_assert(with_transaction || std::is_invocable_v<Handler&, const T&, const Delivery&>,
                  "a handler takes (const T&, Transaction&, const Delivery&) or (const T&, const Delivery&)");
    auto handle = [this, handler = std::move(handler)](const Delivery& delivery) mutable {
      [[maybe_unused]] auto& inbox = inbox_;  // used with a transaction only
      if constexpr (with_transaction)
        handler(read<T>(delivery.event), inbox.transaction(), delivery);
      else
        handler(read<T>(delivery.event), delivery);
    };
    using Takes = ConsumerEngine::Takes;
    engine_.on(type, std::move(handle), with_transaction ? Takes::transaction : Takes::no_transaction, retry);
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
