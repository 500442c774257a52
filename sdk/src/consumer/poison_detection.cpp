#include "consumer/poison_detection.hpp"

#include <tidings/timestamp.hpp>

#include <utility>

namespace tidings {
namespace {

using Attempts = Inbox::Attempts;
using State = Attempts::State;
using Kind = Settlement::Kind;

bool may_have_ended_a_process(const Attempts& attempts) {
  return attempts.state != State::failed && attempts.state != State::dead_letter;
}

/// How many starts failed or ended a process.
int failures(const Attempts& attempts) {
  return attempts.starts + (attempts.state == State::running_isolated_after_batch ? 1 : 0);
}

Attempts running_isolated(const Attempts& past) {
  const bool after_batch =
      past.state == State::running_in_batch || past.state == State::running_isolated_after_batch;
  return {.starts = past.starts + 1,
          .state = after_batch ? State::running_isolated_after_batch : State::running_isolated};
}

}  // namespace

PoisonDetector::Decision PoisonDetector::start(Delivery& delivery, const Handlers::Entry& entry,
                                               Conditions conditions) {
  const auto& id = delivery.event.id;
  auto known = inbox_.attempts(id);
  if (inbox_.handled(id)) {
    if (known) inbox_.forget_attempts(id);  // another copy succeeded between a failure and its retry
    return {.settled = Settlement{.kind = Kind::duplicate}, .start = {}};
  }
  Attempts past;
  if (known)
    past = *known;
  else if (conditions.may_have_run_unrecorded)
    past.state = State::running_in_batch;
  const bool suspect = may_have_ended_a_process(past);
  if (past.state == State::dead_letter || failures(past) >= policy_.max_attempts(entry))
    return {.settled = Settlement{.kind = Kind::dead_letter,
                                  .reason = suspect ? "the process ended while handling it" : past.reason,
                                  .attempts = failures(past)},
            .start = {}};
  if (suspect && !conditions.isolated) return {};
  delivery.attempt = past.starts + 1;
  auto running = conditions.isolated ? running_isolated(past)
                                     : Attempts{.starts = past.starts, .state = State::running_in_batch};
  inbox_.record_attempts(id, running);
  return {.settled = {}, .start = Start{std::move(known), std::move(running)}};
}

void PoisonDetector::undo(const Delivery& delivery, const Start& start) {
  const auto& id = delivery.event.id;
  if (inbox_.attempts(id) != start.running) return;
  if (start.before)
    inbox_.record_attempts(id, *start.before);
  else
    inbox_.forget_attempts(id);
}

void PoisonDetector::fail(const Delivery& delivery, const Settlement& settlement) {
  Attempts attempts{.starts = delivery.attempt, .reason = settlement.reason};
  if (settlement.kind == Kind::dead_letter)
    attempts.state = State::dead_letter;
  else
    attempts.next_attempt = now() + settlement.delay;
  inbox_.record_attempts(delivery.event.id, attempts);
}

}  // namespace tidings
