#pragma once

// Waits until NATS or the inbox is back: says in the status what the consumer waits
// for, and in the log once when it begins and once when it is over. An inbox that is lost is not waited for.

#include "consumer/consumer_context.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <functional>
#include <stop_token>
#include <string>

namespace tidings {

class OutageWait {
 public:
  OutageWait(const Connection& connection, ConsumerContext& context, std::stop_token stop)
      : connection_(connection), context_(context), stop_(std::move(stop)) {}

  /// Calls `work` until it ends without a retryable error, once at least. False when stopped before.
  [[nodiscard]] bool until_done(const char* what, const std::function<void()>& work);

  /// Ends the session, as a stop does, once the inbox is lost.
  void end_if_lost();

  /// The error, and what the server has refused: a request that it refuses gets no answer, which looks like a
  /// timeout.
  [[nodiscard]] std::string reason(const Error& error) const;

 private:
  const Connection& connection_;
  ConsumerContext& context_;
  std::stop_token stop_;
};

}  // namespace tidings
