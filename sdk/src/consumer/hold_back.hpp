#pragma once

// Keeps the order of a key's events: those behind one that is given back to the group
// are given back as well, as long as the consumer's options want it.

#include "consumer/held_keys.hpp"
#include "consumer/settlement.hpp"

#include <tidings/consumer_options.hpp>
#include <tidings/delivery.hpp>

#include <cstdint>

namespace tidings {

class HoldBack {
 public:
  using Clock = HeldKeys::Clock;

  explicit HoldBack(const ConsumerOptions& options)
      : wanted_(options.hold_back), held_(2 * options.ack_wait) {}

  /// See HeldKeys::arrived().
  void arrived(std::uint64_t consumer_sequence, Clock::time_point at) {
    held_.arrived(consumer_sequence, at);
  }
  /// Whether an earlier event of its key is to come first.
  [[nodiscard]] bool holds(const Delivery& delivery) {
    return held_.holds(delivery.event.partition_key, delivery.stream_sequence);
  }
  /// It is here, and its turn comes in order.
  void release(const Delivery& delivery) {
    held_.release(delivery.event.partition_key, delivery.stream_sequence);
  }
  /// To be told of each message. Sets the delay of one that is held back.
  void settled(const Delivery& delivery, Settlement& settlement, Clock::time_point now);

  /// Later events of its key go back with one that is so settled.
  [[nodiscard]] bool goes_back(const Settlement& settlement) const noexcept {
    using enum Settlement::Kind;
    return wanted_ &&
           (settlement.kind == retry || settlement.kind == fenced || settlement.kind == not_started);
  }

 private:
  bool wanted_;
  HeldKeys held_;
};

}  // namespace tidings
