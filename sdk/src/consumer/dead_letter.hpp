#pragma once

// The dead-letter stream of consumers: a copy of the message, and why it is there.

#include "nats/handle.hpp"

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <chrono>
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

  /// For how long no dead letter is to be published, after the stream has answered one with silence: nothing
  /// else is handled while we wait for an answer, so others have their turn first. Longer each time.
  [[nodiscard]] std::chrono::milliseconds pause_left() const;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds first_pause{1000};

  void store(const DeadLetter& letter);
  [[nodiscard]] natsStatus publish(const DeadLetter& letter, std::string_view payload, jsErrCode* code);

  Connection& connection_;
  const ConsumerOptions& options_;
  Clock::time_point paused_until_{};
  std::chrono::milliseconds next_pause_ = first_pause;
};

}  // namespace tidings
