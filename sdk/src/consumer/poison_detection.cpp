#include "consumer/poison_detection.hpp"

#include "event/redrive_headers.hpp"

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

AttemptsKey::AttemptsKey(const Delivery& delivery) : id_(delivery.event.id), source_(delivery.event.source) {
  if (header(delivery.headers, redrive_headers::for_group).empty()) return;
  id_.append(1, ' ').append(header(delivery.headers, "Nats-Msg-Id"));
}

std::optional<Attempts> PoisonDetector::attempts(const Delivery& delivery) {
  auto known = inbox_.attempts(AttemptsKey{delivery}.identity());
  if (known && known->message_stored_at && *known->message_stored_at != delivery.stored_at)
    return std::nullopt;
  return known;
}

PoisonDetector::Decision PoisonDetector::start(Delivery& delivery, const Handlers::Entry& entry,
                                               Conditions conditions) {
  const AttemptsKey key{delivery};
  auto known = attempts(delivery);
  if (inbox_.handled(identity_of(delivery.event))) {
    // Another copy succeeded between a failure and its retry.
    if (known) inbox_.forget_attempts(key.identity());
    return {.settled = Settlement{.kind = Kind::duplicate}, .start = {}};
  }
  const auto past = known.value_or(Attempts{});
  const bool suspect = may_have_ended_a_process(past);
  if (past.state == State::dead_letter || failures(past) >= policy_.max_attempts(entry)) {
    Settlement settlement{.kind = Kind::dead_letter,
                          .reason = suspect ? "the process ended or hung while handling it" : past.reason,
                          .attempts = failures(past)};
    if (past.state != State::dead_letter) record_dead_letter(delivery, settlement);
    return {.settled = std::move(settlement), .start = {}};
  }
  if (suspect && !conditions.isolated) return {};
  delivery.attempt = past.starts + 1;
  auto running = conditions.isolated ? running_isolated(past)
                                     : Attempts{.starts = past.starts, .state = State::running_in_batch};
  inbox_.record_attempts(key.identity(), running);
  return {.settled = {}, .start = Start{std::move(known), std::move(running)}};
}

bool PoisonDetector::is_latest(const Delivery& delivery, const Start& start) {
  return attempts(delivery) == start.running;
}

void PoisonDetector::undo(const Delivery& delivery, const Start& start) {
  if (!is_latest(delivery, start)) return;
  const AttemptsKey key{delivery};
  if (start.before)
    inbox_.record_attempts(key.identity(), *start.before);
  else
    inbox_.forget_attempts(key.identity());
}

void PoisonDetector::fail(const Delivery& delivery, const Settlement& settlement) {
  if (settlement.kind == Kind::dead_letter) return record_dead_letter(delivery, settlement);
  inbox_.record_attempts(
      AttemptsKey{delivery}.identity(),
      {.starts = delivery.attempt, .reason = settlement.reason, .next_attempt = now() + settlement.delay});
}

void PoisonDetector::record_dead_letter(const Delivery& delivery, const Settlement& settlement) {
  inbox_.record_attempts(AttemptsKey{delivery}.identity(), {.starts = settlement.attempts,
                                                            .state = State::dead_letter,
                                                            .reason = settlement.reason,
                                                            .message_stored_at = delivery.stored_at});
}

}  // namespace tidings
