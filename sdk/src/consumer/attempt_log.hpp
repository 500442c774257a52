#pragma once

// What the inbox is told of a handler's start and of its end, always inside of a
// transaction.

#include "consumer/attempt_record.hpp"
#include "consumer/failure_policy.hpp"
#include "consumer/handlers.hpp"
#include "consumer/settlement.hpp"
#include "inbox/inbox.hpp"

#include <tidings/delivery.hpp>

#include <optional>
#include <string>

namespace tidings {

class AttemptLog {
 public:
  AttemptLog(Inbox& inbox, const FailurePolicy& policy) : inbox_(inbox), policy_(policy) {}

  /// A start that is written down: what the inbox knew before, and what it keeps until the handler has ended.
  struct Start {
    std::optional<Inbox::Attempts> before;
    Inbox::Attempts running;
  };

  /// Settled when no handler is to be started: the event is a duplicate, or has failed too often.
  [[nodiscard]] std::optional<Settlement> settled_before(const Delivery& delivery,
                                                         const Handlers::Entry& entry,
                                                         const AttemptRecord& record);
  /// Writes `running` down.
  void begin(const Delivery& delivery, const Inbox::Attempts& running);
  /// The start is of no account: nothing has failed. Not where someone else has started the event since.
  void undo(const Delivery& delivery, const Start& start);

  /// The handler has failed.
  void fail(const Delivery& delivery, const Settlement& settlement);
  /// The event is handled. Also when it was handled already: another copy of it may have succeeded between a
  /// failure and its retry.
  void forget(const Delivery& delivery);

 private:
  Inbox& inbox_;
  const FailurePolicy& policy_;
};

}  // namespace tidings
