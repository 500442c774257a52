#pragma once

// Which handlers have thrown Unavailable and wait for what they need, and which event tries whether it is
// back.

#include "consumer/handlers.hpp"
#include "consumer/settlement.hpp"

#include <tidings/delivery.hpp>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

namespace tidings {

/// A breaker for each handler, and one for all of them. While it is open, its handler is not called. When the
/// pause is over one event is let through, the probe; its end closes the breaker or opens it again. Does no
/// I/O.
class CircuitBreakers {
 public:
  using Clock = std::chrono::steady_clock;

  explicit CircuitBreakers(const Handlers& handlers) : handlers_(handlers) {}

  /// How the event is settled without its handler; nothing when that may be called. An event that was let
  /// through is let through again until it is settled.
  [[nodiscard]] std::optional<Settlement> pause(const Delivery& delivery, const Handlers::Entry& entry) {
    return open_.empty() ? std::nullopt : pause(delivery, entry, Clock::now());
  }
  [[nodiscard]] std::optional<Settlement> pause(const Delivery& delivery, const Handlers::Entry& entry,
                                                Clock::time_point now);
  /// Must be told of each event.
  void settled(const Delivery& delivery, const Settlement& settlement, Clock::time_point now) {
    if (!open_.empty() || !turned_away_.empty() || settlement.kind == Settlement::Kind::unavailable)
      update(delivery, settlement, now);
  }

  /// The event comes again only because it was turned away here: no process can have ended while it was
  /// handled.
  [[nodiscard]] bool never_started(const Delivery& delivery) const {
    if (turned_away_.empty()) return false;
    const auto found = turned_away_.find(delivery.stream_sequence);
    return found != turned_away_.end() && found->second + 1 == delivery.delivered;
  }

  /// Forgets breakers for which no event has come in twice their pause: others of the group may have had it.
  void forget_old(Clock::time_point now);

  [[nodiscard]] bool empty() const noexcept { return open_.empty(); }
  /// Whether no handler is called, but for a probe.
  [[nodiscard]] bool all_open() const noexcept {
    return open_.contains(nullptr) || open_.size() >= handlers_.size();
  }
  /// Whether some pause is not over yet.
  [[nodiscard]] bool within_pause(Clock::time_point now) const;
  /// Whether the pause of all handlers together is not over yet.
  [[nodiscard]] bool consumer_within_pause(Clock::time_point now) const;
  /// What is waited for, and by which handlers.
  [[nodiscard]] std::string reason() const;

 private:
  struct Breaker {
    std::string reason;
    std::chrono::milliseconds pause;
    Clock::time_point until;             // the end of the pause
    std::optional<std::uint64_t> probe;  // the stream's sequence of the event that was let through
  };

  void note_turned_away(const Delivery& delivery, const Settlement& settlement);
  void update(const Delivery& delivery, const Settlement& settlement, Clock::time_point now);

  const Handlers& handlers_;
  std::map<const Handlers::Entry*, Breaker> open_;  // nullptr: the breaker of all handlers together
  // Events that went back before any handler was started for them: how often they had been delivered, by
  // stream sequence. Other instances may have handled them since, so this is emptied when it is large.
  std::unordered_map<std::uint64_t, std::uint64_t> turned_away_;
};

}  // namespace tidings
