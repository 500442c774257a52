#pragma once

// The dead-letter stream of consumers: a copy of the message, and why it is there.

#include "consumer/settlement.hpp"
#include "nats/handle.hpp"

#include <tidings/connection.hpp>
#include <tidings/consumer_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

namespace tidings {

class DeadLetters {
 public:
  DeadLetters(Connection& connection, const ConsumerOptions& options)
      : connection_(connection), options_(options) {}

  /// Creates or checks the stream. Throws as ensure_stream does.
  void ensure();

  /// Returns once the stream has confirmed the copy; it recognises a second copy of the same message. When a
  /// copy is too large, parts are left out: the payload, and then the largest of the message's headers. The
  /// header tidings-payload-left-out says how large the payload was, tidings-headers-left-out which headers
  /// are missing; the original still has them. Throws NatsError, and then the original must not be
  /// terminated.
  void publish(const Delivery& delivery, std::string_view payload, const Settlement& settlement);

  /// How long to hold off the next dead letter after the stream did not answer one: nothing else is handled
  /// while we wait for an answer, so others have their turn first. Longer each time.
  [[nodiscard]] std::chrono::milliseconds pause_left() const;

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds first_pause{1000};

  /// What a copy may take up.
  struct Room {
    bool payload = true;
    std::size_t headers = std::numeric_limits<std::size_t>::max();  ///< all of them together
    std::size_t text = 1000;                                        ///< each text that we write
    /// False when it is as small as can be.
    bool shrink(bool payload_is_empty, bool headers_alone, std::int64_t max_payload);
  };

  [[nodiscard]] MessagePtr copy(const Delivery& delivery, const Settlement& settlement,
                                std::string_view payload, const Room& room) const;
  [[nodiscard]] Headers own_headers(const Delivery& delivery, const Settlement& settlement,
                                    const Room& room) const;
  [[nodiscard]] natsStatus send(natsMsg* letter, const Delivery& delivery, jsErrCode* code) const;

  Connection& connection_;
  const ConsumerOptions& options_;
  Clock::time_point paused_until_{};
  std::chrono::milliseconds next_pause_ = first_pause;
};

}  // namespace tidings
