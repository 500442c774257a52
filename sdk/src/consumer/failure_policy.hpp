#pragma once

// Decides what becomes of a message whose handler did not succeed.

#include "consumer/handlers.hpp"
#include "consumer/settlement.hpp"

#include <tidings/consumer_options.hpp>

#include <chrono>
#include <optional>
#include <string>

namespace tidings {

/// Does no I/O.
class FailurePolicy {
 public:
  explicit FailurePolicy(const ConsumerOptions& options) : options_(options) {}

  [[nodiscard]] int max_attempts(const Handlers::Entry& entry) const {
    return entry.retry.max_attempts.value_or(options_.max_attempts);
  }
  /// No handler takes the type.
  [[nodiscard]] Settlement unhandled(const Delivery& delivery) const;
  /// To be called in a catch block: judges what the handler has thrown.
  [[nodiscard]] Settlement current_exception(const Delivery& delivery, const Handlers::Entry& entry) const;
  /// A failed attempt: a retry, or a dead letter when it was the last. Without a delay, the backoff decides.
  [[nodiscard]] Settlement failed(const Delivery& delivery, const Handlers::Entry& entry, std::string reason,
                                  std::optional<std::chrono::milliseconds> delay = {}) const;
  /// The handler ran longer than it may.
  [[nodiscard]] Settlement overdue(const Delivery& delivery, const Handlers::Entry& entry) const;

 private:
  const ConsumerOptions& options_;
};

}  // namespace tidings
