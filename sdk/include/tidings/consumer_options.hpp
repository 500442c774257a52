#pragma once

// What a consumer is told: which group it joins, how it takes messages, and what becomes of those that fail.

#include <tidings/backoff.hpp>
#include <tidings/connection.hpp>
#include <tidings/consumer_status.hpp>
#include <tidings/delivery.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// How often and how soon events of one type are tried again, where it differs from the consumer's options.
struct RetryPolicy {
  std::optional<int> max_attempts{};
  std::optional<Backoff> backoff{};

  /// Throws SettingError for a value outside of the limits that ConsumerOptions has, naming `type`.
  void validate(const std::string& type) const;
};

/// A failed attempt, or a message that could not be decoded.
struct Failure {
  const Delivery& delivery;
  const std::string& reason;
  bool dead_letter;  ///< otherwise it is tried again
  int attempts;      ///< how often a handler was started so far
  /// Until the next attempt. 0 for a dead letter, and when the handler ended too late: the message belongs to
  /// its next delivery then, here or elsewhere.
  std::chrono::milliseconds delay;
  bool unavailable = false;  ///< Unavailable was thrown: this was no attempt
};

/// An event whose handler has returned, and whose effects are committed.
struct Success {
  const Delivery& delivery;
  std::chrono::nanoseconds took;  ///< by the handler
};

/// Where on its stream a new group begins.
struct Start {
  enum class At {
    all,   ///< what the stream holds
    now,   ///< what is published once the group is made
    since  ///< what the stream has stored from `time` on
  };
  At at = At::all;
  Timestamp time{};  ///< of since

  /// `all`, `new` or a time in RFC 3339. Empty for any other text.
  [[nodiscard]] static std::optional<Start> parse(std::string_view text);
};

/// Checked when the consumer is built. The defaults are constants; from_environment() reads the environment:
///
///     auto options = tidings::ConsumerOptions::from_environment();
///     options.group = "welcome-mailer";
struct ConsumerOptions {
  std::string group{};  ///< 1 to 31 of [A-Za-z0-9_-]

  std::string stream = "AUTH_EVENTS";
  std::string subject_prefix = "auth.events";
  /// Where dead letters go; another stream than `stream`. Empty: named after it, AUTH_DLQ for AUTH_EVENTS.
  std::string dead_letter_stream{};
  /// The prefix of their subjects, which must not lie within `subject_prefix`. Empty: named after the
  /// dead-letter stream, auth.dlq for AUTH_DLQ.
  std::string dead_letter_prefix{};
  bool manage_streams = true;  ///< make missing streams and the group's durable consumer
  /// Copies of the streams that it makes, 1 to 5. With `manage_streams`, an existing one with fewer is an
  /// error.
  int replicas = 1;

  int max_attempts = 5;  ///< starts of a handler before the dead letter, 1 to 1000
  Backoff backoff{};
  /// A message that is not acknowledged for this long goes to another instance, 100 ms to 1 h. Used when the
  /// durable is made; an existing one keeps its own.
  std::chrono::milliseconds ack_wait{std::chrono::seconds{30}};

  Start start{};  ///< Used when the durable is made.
  /// What the server hands to the group. by_type: events whose subjects name a type that has a handler, or a
  /// few more where the server cannot tell them apart; it is never less than what another instance has asked
  /// for. Everything also with on_any() and Unhandled::dead_letter. whole_stream: for publishers whose
  /// subjects do not name the type; widens a durable that was made by type.
  enum class Filter { by_type, whole_stream };
  Filter filter = Filter::by_type;
  /// Messages that the group may have open, 1 to 1000000: handed out, or waiting for a retry or for what is
  /// unavailable. Used when the durable is made; an existing one keeps its own.
  int max_ack_pending = 20000;

  /// How the events of one partition key follow each other.
  enum class Order {
    /// All instances share the events. Each keeps the order of what it has itself; an event that another
    /// instance has, or that a killed one has left behind, may be overtaken.
    shared,
    /// In the order of the stream, always. One instance at a time handles events, the others stand by; needs
    /// a pull consumer, an inbox that all instances share, and nobody else who pulls from the durable.
    strict
  };
  Order order = Order::shared;
  /// strict: a standby takes over when the owner has been silent for this long, 500 ms to 1 h. Takes the
  /// place of ack_wait; a killed owner's messages come again within three of it.
  std::chrono::milliseconds lease{std::chrono::seconds{10}};
  /// strict: a group that was shared becomes strict, for good. Only once no instance runs that is not strict:
  /// the group's order is noted in the inbox, and a shared one is refused from then on.
  bool make_strict = false;

  /// While an event waits for its retry, this instance gives later events with its partition key back to the
  /// group instead of handling them: they would overtake it.
  bool hold_back = true;

  /// 0: transactional mode. 1 to 1024: concurrent mode, with this many handlers at once, one at a time for
  /// each partition key. They take (event, delivery) then, without a transaction, and are called on several
  /// threads.
  int workers = 0;

  /// A handler that runs longer loses its message, which is tried again as after a failure, here or
  /// elsewhere; what the late handler wrote is rolled back, and its result is ignored. At least 100 ms.
  std::chrono::milliseconds handler_time_limit{std::chrono::minutes{5}};
  /// Nothing can stop a handler that hangs. While one holds up this instance (in concurrent mode: one for
  /// each worker), the messages behind it go to other instances, and the status says so. So does a stop that
  /// waits for one, after drain_timeout.
  enum class Overdue {
    wait,        ///< until the handler ends
    end_process  ///< with exit code 1 and a line in the log; it should be started again
  };
  /// Unset: end_process in transactional mode on SQLite, since the handler has the file's lock and no
  /// instance can go on; else wait. An event whose handler hangs each time ends as a dead letter only if the
  /// process does: the ends are counted as attempts.
  std::optional<Overdue> on_overdue{};

  int max_batch = 500;  ///< messages in one transaction, 1 to 10000
  /// Messages pulled ahead of handling, max_batch to 100000; in concurrent mode at most 16 for each worker.
  /// Fewer where handlers are slow, about what they do in 250 ms, so that other instances get their share.
  /// An existing push consumer has a limit of its own.
  int prefetch = 2000;
  std::size_t prefetch_bytes = 16U << 20U;       ///< the same limit in bytes, roughly; at least 64 KiB
  std::chrono::milliseconds max_batch_time{20};  ///< a batch commits once it has run this long

  enum class Unhandled { ack, dead_letter };
  Unhandled unhandled = Unhandled::ack;  ///< what happens to an event whose type has no handler

  /// How long ids of handled events are remembered, at least 1 h.
  std::chrono::hours inbox_retention{24 * 30};
  /// run() returns after this long without a message; outages do not count.
  std::optional<std::chrono::milliseconds> exit_when_idle{};
  std::chrono::milliseconds drain_timeout{5000};  ///< for finishing and flushing after a stop request

  // What these throw is logged once, and changes nothing. on_start is called on the handler's thread, with
  // workers on several; the others on the thread of run(), between transactions. While a handler runs too
  // long, on_status is called on another thread.
  std::function<void(const Delivery&)> on_start{};         ///< before each call of a handler
  std::function<void(const Success&)> on_success{};        ///< after the commit
  std::function<void(const Failure&)> on_failure{};        ///< after each failed attempt
  std::function<void(const ConsumerStatus&)> on_status{};  ///< at each change

  ConnectionOptions connection{};

  /// CONSUMER_GROUP, CONSUMER_MAX_ATTEMPTS, CONSUMER_BACKOFF_BASE_MS, CONSUMER_BACKOFF_MAX_MS,
  /// CONSUMER_ACK_WAIT_MS, CONSUMER_ORDER, CONSUMER_LEASE_MS, CONSUMER_MAKE_STRICT, CONSUMER_START,
  /// CONSUMER_FILTER, CONSUMER_DLQ_STREAM, CONSUMER_DLQ_PREFIX, OUTBOX_STREAM, OUTBOX_SUBJECT_PREFIX,
  /// OUTBOX_STREAM_REPLICAS, and those of ConnectionOptions::from_environment(). Throws SettingError naming
  /// the variable.
  [[nodiscard]] static ConsumerOptions from_environment();

  /// Gives names to the dead-letter stream and its subjects where there are none, as the consumer does.
  void follow_stream();

  /// With Order::strict, gives the others the values that it works with: AckWait is the lease, all that may
  /// be open is here, and what waits for its retry holds later events of its key.
  void follow_order();

  /// Throws SettingError naming the option that cannot be used, its value and what it takes. Does no I/O.
  void validate() const;
};

}  // namespace tidings
