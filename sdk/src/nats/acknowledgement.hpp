#pragma once

// How a consumer answers a JetStream message, and what the reply subject says about the delivery:
//   $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//   $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<…the same…>[.<token>…]
// The second form is the default from nats-server 2.15 on (ADR-15).

#include <nats/nats.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string_view>

namespace tidings {

struct AckSubject {
  std::string_view stream, consumer;  ///< point into the parsed text
  std::uint64_t delivered = 0;        ///< 1 at the first delivery
  std::uint64_t stream_sequence = 0;
  std::uint64_t consumer_sequence = 0;
  std::int64_t stored_at_ns = 0;  ///< since the Unix epoch
  std::uint64_t pending = 0;      ///< messages still to be delivered to this consumer

  /// Empty when `subject` is not an ack subject.
  [[nodiscard]] static std::optional<AckSubject> parse(std::string_view subject);
};

struct Acknowledgement {
  enum class Kind {
    ack,         ///< it is done with
    nak,         ///< hand it out again, at once or after `delay`
    terminate,   ///< never hand it out again
    in_progress  ///< hand it to nobody else for another AckWait
  };
  Kind kind;
  std::chrono::nanoseconds delay{};
};

/// Does not wait for the server. If it is lost with the connection, the message comes again after its
/// AckWait.
void send(natsConnection* connection, natsMsg* message, Acknowledgement acknowledgement);

}  // namespace tidings
