#pragma once

// What a handler is told beside the data: the event, and which attempt this is.

#include <tidings/error.hpp>
#include <tidings/event.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <cstdint>
#include <string>

namespace tidings {

struct Delivery {
  Event event;
  Headers headers;      ///< as received
  std::string subject;  ///< `auth.events.user.created`
  std::string stream;   ///< `AUTH_EVENTS`
  std::uint64_t stream_sequence = 0;
  std::uint64_t delivered = 1;  ///< times JetStream has handed this message out
  int attempt = 1;              ///< times this group has started to handle it, this one included
  Timestamp stored_at;          ///< when the stream took it
};

/// Thrown by a handler: never try again, dead letter now.
struct Reject : Error {
  explicit Reject(const std::string& reason) : Error(reason) {}
};

/// Thrown by a handler: try again after exactly this delay. Counts as an attempt.
class RetryAfter : public Error {
 public:
  explicit RetryAfter(std::chrono::milliseconds delay, const std::string& reason = "retry asked for")
      : Error(reason), delay_(delay) {}
  [[nodiscard]] std::chrono::milliseconds delay() const noexcept { return delay_; }

 private:
  std::chrono::milliseconds delay_;
};

/// Thrown by a handler: something that it needs is away, and the event is not to blame. No attempt is used;
/// the event comes again after `pause`. Until then the handler is not called for other events either: they go
/// back to the group. Then one event tries; when its handler does not throw this again, the others follow.
///
///     throw tidings::Unavailable{"mail API", 30s};
class Unavailable : public Error {
 public:
  enum class Pauses {
    handler,   ///< this one: events that other handlers take go on
    consumer,  ///< all handlers of this instance, which pulls nothing meanwhile
  };

  /// `what` is away, as the status shows it. A pause is 1 ms at least.
  explicit Unavailable(const std::string& what, std::chrono::milliseconds pause,
                       Pauses pauses = Pauses::handler)
      : Error(what + " is unavailable", Retry::yes), pause_(pause), pauses_(pauses) {}
  [[nodiscard]] std::chrono::milliseconds pause() const noexcept { return pause_; }
  [[nodiscard]] Pauses pauses() const noexcept { return pauses_; }

 private:
  std::chrono::milliseconds pause_;
  Pauses pauses_;
};

}  // namespace tidings
