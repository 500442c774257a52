#pragma once

// Counts the starts of an event's handler, and finds the event that ends its process.

#include "consumer/settlement.hpp"
#include "inbox/inbox.hpp"

#include <tidings/delivery.hpp>

#include <optional>
#include <string>

namespace tidings {

/// What is known of an event when its handler is to be started again. A start whose process ended blames
/// nobody while others ran beside it: the event is a suspect, and runs isolated from then on. Once it has
/// ended a process isolated, too, the first one was its doing.
class AttemptRecord {
 public:
  /// What the inbox knows, and whether an event of which it knows nothing was handed out before: then it may
  /// have run in a batch whose process ended.
  AttemptRecord(const std::optional<Inbox::Attempts>& known, bool handed_out_before);

  /// It may have ended a process.
  [[nodiscard]] bool suspect() const noexcept;
  /// How many starts failed or ended a process.
  [[nodiscard]] int failed() const noexcept;
  /// No handler is to run again: it has failed too often, or its dead letter is still to be stored.
  [[nodiscard]] bool over(int max_attempts) const noexcept;
  /// Why the last one failed.
  [[nodiscard]] std::string reason() const;
  /// The number of the start to come, as its handler is told.
  [[nodiscard]] int next() const noexcept { return starts_ + 1; }

  // What the inbox is to keep while the event runs.
  [[nodiscard]] Inbox::Attempts run_isolated() const;
  [[nodiscard]] Inbox::Attempts run_in_batch() const;
  /// What the inbox is to keep after a start that failed.
  [[nodiscard]] static Inbox::Attempts after(const Delivery& delivery, const Settlement& settlement);

 private:
  using State = Inbox::Attempts::State;

  [[nodiscard]] bool is(State state) const noexcept { return state_ == state; }

  int starts_ = 0;
  std::optional<State> state_;  // empty: it was not started yet
  std::string reason_;
};

}  // namespace tidings
