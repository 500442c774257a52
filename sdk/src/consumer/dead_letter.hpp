#pragma once

// The dead-letter stream of consumers: a copy of the message, and why it is there.

#include "consumer/settlement.hpp"
#include "nats/handle.hpp"

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <chrono>
#include <string_view>

namespace tidings {

class DeadLetters {
 public:
  DeadLetters(Connection& connection, const ConsumerOptions& options)
      : connection_(connection), options_(options) {}

  /// Creates or checks the stream. Throws as ensure_stream does.
  void ensure();

  /// Returns once the stream has confirmed the copy; it recognises a second copy of the same message. A
  /// payload that is too large beside the added headers is left out: the header tidings-payload-left-out has
  /// its size, and the original stays in its stream. Throws NatsError, and then the original must not be
  /// ended.
  void publish(const Delivery& delivery, std::string_view payload, const Settlement& settlement);

  /// How long to hold off the next dead letter after the stream did not answer one: nothing else is handled
  /// while we wait for an answer, so others have their turn first. Longer each time.
  [[nodiscard]] std::chrono::milliseconds pause_left() const;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds first_pause{1000};

  [[nodiscard]] MessagePtr copy(const Delivery& delivery, const Settlement& settlement,
                                std::string_view payload) const;
  [[nodiscard]] natsStatus send(natsMsg* letter, const Delivery& delivery, jsErrCode* code) const;

  Connection& connection_;
  const ConsumerOptions& options_;
  Clock::time_point paused_until_{};
  std::chrono::milliseconds next_pause_ = first_pause;
};

}  // namespace tidings
