#include "consumer/attempt_record.hpp"

#include <tidings/timestamp.hpp>

namespace tidings {

AttemptRecord::AttemptRecord(const std::optional<Inbox::Attempts>& known, bool handed_out_before) {
  if (known) {
    starts_ = known->starts;
    state_ = known->state;
    reason_ = known->reason;
  } else if (handed_out_before) {
    state_ = State::running_in_batch;
  }
}

bool AttemptRecord::suspect() const noexcept {
  return is(State::running_in_batch) || is(State::running_isolated) ||
         is(State::running_isolated_after_batch);
}

int AttemptRecord::failed() const noexcept {
  return starts_ + (is(State::running_isolated_after_batch) ? 1 : 0);
}

bool AttemptRecord::over(int max_attempts) const noexcept {
  return is(State::dead_letter) || failed() >= max_attempts;
}

std::string AttemptRecord::reason() const {
  return suspect() ? "the process ended while handling it" : reason_;
}

Inbox::Attempts AttemptRecord::run_isolated() const {
  const bool after_batch = is(State::running_in_batch) || is(State::running_isolated_after_batch);
  return {.starts = next(),
          .state = after_batch ? State::running_isolated_after_batch : State::running_isolated};
}

Inbox::Attempts AttemptRecord::run_in_batch() const {
  return {.starts = starts_, .state = State::running_in_batch};
}

Inbox::Attempts AttemptRecord::after(const Delivery& delivery, const Settlement& settlement) {
  Inbox::Attempts attempts{.starts = delivery.attempt, .reason = settlement.reason};
  if (settlement.kind == Settlement::Kind::dead_letter)
    attempts.state = State::dead_letter;
  else
    attempts.next_attempt = now() + settlement.delay;
  return attempts;
}

}  // namespace tidings
