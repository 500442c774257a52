#pragma once

// The dead-letter stream of consumers: a copy of the message, and why it is there.

#include "nats/handle.hpp"

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <string>
#include <string_view>

namespace tidings {

struct DeadLetter {
  const Delivery& delivery;
  std::string_view payload;
  std::string reason;
  int attempts = 0;
};

class DeadLetters {
 public:
  DeadLetters(Connection& connection, const ConsumerOptions& options)
      : connection_(connection), options_(options) {}

  /// Makes or checks the stream. Throws as ensure_stream does.
  void ensure();

  /// Returns once the stream has confirmed the copy; a second copy of the same message is
  /// recognised by the stream. A payload that is too large for it beside the added headers is left out: the
  /// header tidings-payload-left-out has its size, and the original stays in its stream. Throws NatsError,
  /// and then the original must not be ended.
  void publish(const DeadLetter& letter);

 private:
  [[nodiscard]] natsStatus publish(const DeadLetter& letter, std::string_view payload, jsErrCode* code);

  Connection& connection_;
  const ConsumerOptions& options_;
};

}  // namespace tidings
