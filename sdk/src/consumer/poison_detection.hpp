#pragma once

// Finds poison messages, whose handler ends the process: counts in the inbox how often a handler was started
// and not seen to succeed.

#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/settlement.hpp"
#include "inbox/inbox.hpp"

#include <tidings/delivery.hpp>

#include <optional>
#include <string>

namespace tidings {

/// The key under which the inbox keeps a delivery's attempts: the event's identity. A redriven event has a
/// key of its own, so that its attempts start at 0 whatever an earlier copy of it has left behind.
class AttemptsKey {
 public:
  explicit AttemptsKey(const Delivery& delivery);
  [[nodiscard]] EventIdentity identity() const noexcept { return {id_, source_}; }

 private:
  std::string id_, source_;
};

/// If the process died while several handlers were running, no single event can be blamed: each becomes a
/// suspect and from then on runs isolated. If the process dies again while a suspect runs isolated, that
/// event is to blame for both deaths. Only starts that were written down count: a message that comes again
/// may just have been given back. Everything here happens inside an inbox transaction.
class PoisonDetector {
 public:
  PoisonDetector(Inbox& inbox, const FailurePolicy& policy) : inbox_(inbox), policy_(policy) {}

  /// A start that is written down: what the inbox knew before, and what it keeps until the handler has ended.
  struct Start {
    std::optional<Inbox::Attempts> before;
    Inbox::Attempts running;
  };
  struct Conditions {
    bool isolated;  ///< nothing runs beside it
  };
  /// With neither, the event is a suspect that must run isolated.
  struct Decision {
    std::optional<Settlement>
        settled;  ///< no handler is to run: a duplicate, or one that has failed too often
    std::optional<Start> start;
  };
  /// What has failed or is running of this event. Nothing where another message with it is a dead letter:
  /// somebody has sent it again, and its attempts start at 0.
  [[nodiscard]] std::optional<Inbox::Attempts> attempts(const Delivery& delivery);
  /// Writes the start of a handler down where one is to run, and tells the delivery which attempt it is.
  [[nodiscard]] Decision start(Delivery& delivery, const Handlers::Entry& entry, Conditions conditions);
  /// False where someone else has started the event since, or has settled it.
  [[nodiscard]] bool is_latest(const Delivery& delivery, const Start& start);
  /// The start does not count: nothing has failed. No effect where it is not the latest.
  void undo(const Delivery& delivery, const Start& start);
  /// The handler has failed.
  void fail(const Delivery& delivery, const Settlement& settlement);

 private:
  /// It stays after the dead letter is stored: another instance may still have a copy of the message.
  void record_dead_letter(const Delivery& delivery, const Settlement& settlement);

  Inbox& inbox_;
  const FailurePolicy& policy_;
};

}  // namespace tidings
