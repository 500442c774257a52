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
#include <tidings/monitor_report.hpp>
#include <tidings/stop_signals.hpp>

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace tidings {

class Inbox;
struct ConsumerContext;

/// The engine under Consumer: everything that does not depend on the inbox's type.
class ConsumerEngine {
 public:
  using Handler = std::function<void(const Delivery&)>;

  /// Without a connection to share, each run makes one of its own.
  ConsumerEngine(Inbox& inbox, ConsumerOptions options, Connection* shared = nullptr);
  ~ConsumerEngine();

  enum class Takes { transaction, no_transaction };

  void on(const std::string& type, Handler handler, Takes takes, RetryPolicy retry);
  void on_any(Handler handler, Takes takes, RetryPolicy retry);
  void run(const std::stop_token& stop);
  void stop();
  void pause();
  void resume();
  [[nodiscard]] ConsumerStats stats() const;
  [[nodiscard]] ConsumerStatus status() const;
  [[nodiscard]] MonitorReport report(const HealthLimits& limits) const;

 private:
  [[nodiscard]] Handler after_start_hook(Handler handler) const;
  void require_addable(const std::string& type, Takes takes, const RetryPolicy& retry) const;

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

  /// The same on a connection that other consumers and processors may share, each on a thread of its own:
  /// `options.connection` is not used. The connection must outlive the runs, and its owner closes it; the end
  /// of a run, by a stop or an error, leaves it to the others as it is. Its loss for good ends all runs on
  /// it.
  Consumer(InboxType& inbox, Connection& connection, ConsumerOptions options)
      : inbox_(inbox), engine_(inbox.tables(), std::move(options), &connection) {}

  /// A handler of one type of events, or with `user.*` of all types that begin with `user.` and have no
  /// handler of their own, nor of a longer beginning.
  ///
  /// It is called as `handler(const T&, Transaction&, const Delivery&)`, or `handler(const T&, const
  /// Delivery&)`, the only one in concurrent mode; T is read from the event's data by nlohmann/json
  /// (NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE). Data that T cannot be read from goes to the dead letters at once.
  /// Data that is empty is read as null, and a std::optional<T> is empty then.
  ///
  /// Without a T, `handler(Transaction&, const Delivery&)` or `handler(const Delivery&)`: nothing is parsed,
  /// and `delivery.event.data` has the bytes.
  ///
  /// A handler may be move-only. Throws Error when the type has one already or the consumer runs.
  template <class T = void, class Handler>
  Consumer& on(const std::string& type, Handler handler, RetryPolicy retry = {}) {
    engine_.on(type, adapt<T>(std::move(handler)), takes<T, Handler>(), retry);
    return *this;
  }

  /// A handler, as on() takes it, for all events that no other one takes.
  template <class T = void, class Handler>
  Consumer& on_any(Handler handler, RetryPolicy retry = {}) {
    engine_.on_any(adapt<T>(std::move(handler)), takes<T, Handler>(), retry);
    return *this;
  }

  /// Consumes until SIGINT or SIGTERM, then drains. Waits for a broker or an inbox that is
  /// away. Throws Error when waiting cannot help (refused login, a stream that differs).
  void run() {
    StopSignals signals;
    run(signals.token());
  }

  /// The same until `stop` is requested. Leaves signals alone: for applications that handle them, or that run
  /// this on a thread beside a loop of their own.
  void run(const std::stop_token& stop) { engine_.run(stop); }

  // Thread-safe; also to be called by handlers, but not by a signal handler.

  /// The current run drains and returns; when there is none, the next one returns at once.
  void stop() { engine_.stop(); }
  /// Drains as a stop does: what no handler has started goes back to the group. The status is `paused` when
  /// that is done; run() does not return, and has no connection of its own until resume() or stop(). Called
  /// before run(), it has run() begin paused.
  void pause() { engine_.pause(); }
  void resume() { engine_.resume(); }
  [[nodiscard]] ConsumerStats stats() const { return engine_.stats(); }
  [[nodiscard]] ConsumerStatus status() const { return engine_.status(); }
  /// Both, for MonitorServer.
  [[nodiscard]] MonitorReport report(const HealthLimits& limits = {}) const { return engine_.report(limits); }

 private:
  template <class T, class Handler>
  static constexpr bool with_transaction() {
    if constexpr (std::is_void_v<T>) {
      constexpr bool with = std::is_invocable_v<Handler&, Transaction&, const Delivery&>;
      static_assert(with || std::is_invocable_v<Handler&, const Delivery&>,
                    "a handler of no type takes (Transaction&, const Delivery&) or (const Delivery&)");
      return with;
    } else {
      constexpr bool with = std::is_invocable_v<Handler&, const T&, Transaction&, const Delivery&>;
      static_assert(
          with || std::is_invocable_v<Handler&, const T&, const Delivery&>,
          "a handler takes (const T&, Transaction&, const Delivery&) or (const T&, const Delivery&)");
      return with;
    }
  }

  template <class T, class Handler>
  static constexpr ConsumerEngine::Takes takes() {
    using Takes = ConsumerEngine::Takes;
    return with_transaction<T, Handler>() ? Takes::transaction : Takes::no_transaction;
  }

  template <class T, class Handler>
  ConsumerEngine::Handler adapt(Handler handler) {
    // std::function holds nothing that is move-only.
    auto kept = std::make_shared<Handler>(std::move(handler));
    return [this, kept = std::move(kept)](const Delivery& delivery) {
      [[maybe_unused]] auto& inbox = inbox_;  // used with a transaction only
      auto& handle = *kept;
      if constexpr (with_transaction<T, Handler>() && std::is_void_v<T>)
        handle(inbox.transaction(), delivery);
      else if constexpr (with_transaction<T, Handler>())
        handle(read<T>(delivery.event), inbox.transaction(), delivery);
      else if constexpr (std::is_void_v<T>)
        handle(delivery);
      else
        handle(read<T>(delivery.event), delivery);
    };
  }

  template <class T>
  static T read(const Event& event) {
    const auto json = event.data.empty() ? nlohmann::json{} : event.json();
    try {
      if constexpr (IsOptional<T>::value)
        return json.is_null() ? T{} : T{json.template get<typename T::value_type>()};
      else
        return json.template get<T>();
    } catch (const nlohmann::json::exception& error) {
      throw Undecodable("data of " + event.type + (event.data.empty() ? " is empty, which" : "") +
                        " does not fit the handler's type: " + error.what());
    }
  }

  template <class T>
  struct IsOptional : std::false_type {};
  template <class T>
  struct IsOptional<std::optional<T>> : std::true_type {};

  InboxType& inbox_;
  ConsumerEngine engine_;
};

template <class InboxType>
Consumer(InboxType&, ConsumerOptions) -> Consumer<InboxType>;
template <class InboxType>
Consumer(InboxType&, Connection&, ConsumerOptions) -> Consumer<InboxType>;

/// Calls each with a token, on a thread of its own, until all have returned. When one throws, the token is
/// requested to stop, and the first exception is thrown in the end.
void run_side_by_side(const std::stop_token& stop,
                      const std::vector<std::function<void(const std::stop_token&)>>& runs);

/// Runs several consumers, each with an inbox of its own, until `stop` is requested or all have ended. When
/// one ends with an error, so do the others, and the error is thrown.
template <class... InboxTypes>
void run_all(const std::stop_token& stop, Consumer<InboxTypes>&... consumers) {
  run_side_by_side(stop, {[&consumers](const std::stop_token& token) { consumers.run(token); }...});
}

/// The same until SIGINT or SIGTERM, which end all of them.
template <class... InboxTypes>
void run_all(Consumer<InboxTypes>&... consumers) {
  StopSignals signals;
  run_all(signals.token(), consumers...);
}

}  // namespace tidings
