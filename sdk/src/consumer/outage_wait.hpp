#pragma once

// Waits until NATS or the inbox is back: says in the status what the consumer waits
// for, and in the log once when it begins and once when it is over.

#include "consumer/consumer_context.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <functional>
#include <stop_token>
#include <string>

namespace tidings {

class OutageWait {
 public:
  OutageWait(const Connection& connection, SharedStatus& status, std::stop_token stop)
      : connection_(connection), status_(status), stop_(std::move(stop)) {}

  /// Calls `work` until it ends without a retryable error, once at least. False when stopped before.
  [[nodiscard]] bool until_done(const char* what, const std::function<void()>& work);

  /// The error, with what the server refused: it answers that with nothing, which looks like a timeout.
  [[nodiscard]] std::string reason(const Error& error) const;

 private:
  const Connection& connection_;
  SharedStatus& status_;
  std::stop_token stop_;
};

}  // namespace tidings
