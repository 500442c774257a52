#pragma once

// The order of a key's events, told by key and sequence.

#include "consumer/key_order.hpp"

#include <string>

namespace tidings::test {

class KeyHolds {
 public:
  using Clock = KeyOrder::Clock;

  void use(std::chrono::milliseconds ack_wait) { order_.use(ack_wait); }
  void arrived(std::uint64_t consumer_sequence, Clock::time_point at) {
    order_.arrived(consumer_sequence != last_sequence_ + 1, at);
    last_sequence_ = consumer_sequence;
  }
  [[nodiscard]] bool holds(const std::string& key, std::uint64_t sequence) {
    return order_.holds(event(key, sequence));
  }
  void release(const std::string& key, std::uint64_t sequence) { order_.release(event(key, sequence)); }
  /// The event is to be retried at `until`.
  void hold(const std::string& key, std::uint64_t sequence, Clock::time_point until) {
    Settlement retry{.kind = Settlement::Kind::retry};
    order_.settled(event(key, sequence), retry, until);
  }
  /// The event is given back behind an earlier one; returns for how long.
  [[nodiscard]] std::chrono::milliseconds hold_behind(const std::string& key, std::uint64_t sequence,
                                                      Clock::time_point now) {
    Settlement held_back{.kind = Settlement::Kind::held_back};
    order_.settled(event(key, sequence), held_back, now);
    return held_back.delay;
  }

 private:
  [[nodiscard]] static Delivery event(const std::string& key, std::uint64_t sequence) {
    Delivery delivery;
    delivery.event.partition_key = key;
    delivery.stream_sequence = sequence;
    return delivery;
  }

  std::uint64_t last_sequence_ = 0;
  KeyOrder order_{ConsumerOptions{.ack_wait = std::chrono::seconds{30}}};
};

}  // namespace tidings::test
