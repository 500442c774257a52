#pragma once

// The reply subject of a JetStream message says all about its delivery:
//   $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//   $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<…the same…>[.<token>…]
// The second form is the default from nats-server 2.15 on (ADR-15).

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

  /// Empty when `subject` is no ack subject.
  [[nodiscard]] static std::optional<AckSubject> parse(std::string_view subject);
};

}  // namespace tidings
