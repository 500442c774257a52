#pragma once

// What a consumer is told: which group it joins, how it takes messages, and what
// becomes of those whose handler fails.

#include <tidings/backoff.hpp>
#include <tidings/connection.hpp>
#include <tidings/consumer_status.hpp>
#include <tidings/delivery.hpp>

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

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

}  // namespace tidings
