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

}  // namespace tidings
