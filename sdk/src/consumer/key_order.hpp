#pragma once

// Keeps the order of a key's events: an event that this instance gave back must be handled before later
// events of its key; those are given back too until it has been redelivered.

#include "consumer/settlement.hpp"

#include <tidings/consumer_options.hpp>
#include <tidings/delivery.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

namespace tidings {

/// What an event shares with those that are to be handled in order with it; empty when it has no partition
/// key. The user 42 does not wait for the order 42.
[[nodiscard]] std::string order_key(const Event& event);

/// One for each instance; does no I/O and reads no clock. Sequences are those of the stream.
///
/// While this instance gets all that the group hands out, what it gave back comes to it again, and a hold
/// lasts until then. What goes to another instance shows as a gap in the consumer's sequence: that instance
/// may have settled the event without telling us. Then only a retry holds, until a little after its time.
class KeyOrder {
 public:
  using Clock = std::chrono::steady_clock;

  explicit KeyOrder(const ConsumerOptions& options) : wanted_(options.hold_back) { use(options.ack_wait); }

  /// The group's AckWait. A hold ends two of them after its event was due at most: the event may have been
  /// deleted meanwhile.
  void use(std::chrono::milliseconds ack_wait) noexcept { longest_ = 2 * ack_wait; }

  /// A message has come, and is handled after those that came before it. Whether a hold is over is judged by
  /// the time at which a message came: while it waits to be handled, what it would overtake may come.
  void arrived(bool after_gap, Clock::time_point at);

  /// Whether an earlier event of its key is to come first.
  [[nodiscard]] bool holds(const Delivery& delivery);

  /// The event is here again, and is handled in its turn.
  void release(const Delivery& delivery);

  /// Whoever keeps the order elsewhere has lost it.
  void forget_all();

  /// Must be told of each message. Sets the delay of one that is held back: it grows while what it waits for
  /// is late.
  void settled(const Delivery& delivery, Settlement& settlement, Clock::time_point now);

  /// True when later events of its key go back with an event that is settled in this way.
  [[nodiscard]] bool goes_back(const Settlement& settlement) const noexcept {
    using enum Settlement::Kind;
    const auto kind = settlement.kind;
    return wanted_ &&
           (kind == retry || kind == unavailable || kind == paused || kind == fenced || kind == not_started);
  }

 private:
  /// An event that was given back.
  struct Out {
    Clock::time_point due;
    std::chrono::milliseconds delay{};  // as asked of the server
    bool retry = false;                 // otherwise it went behind another event
    int times_late = 0;                 // how often it came again before that one
    std::uint64_t gaps = 0, round = 0;  // when it was given back
  };
  using Events = std::map<std::uint64_t, Out>;  // by sequence
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };

  [[nodiscard]] bool is_over(const Out& out) const;
  [[nodiscard]] std::chrono::milliseconds hold_behind(const Delivery& delivery, Clock::time_point now);
  void put(const Delivery& delivery, const Out& out);
  void forget_old();

  const bool wanted_;
  std::chrono::milliseconds longest_{};
  std::unordered_map<std::string, Events, Hash, std::equal_to<>> out_;  // by key; each has at least one event
  std::size_t keys_to_look_through_ = 1000;
  std::uint64_t gaps_ = 0;
  std::uint64_t round_ = 0;  // what is given back between two arrivals shares one
  Clock::time_point last_arrival_ = Clock::time_point::min();
};

}  // namespace tidings
