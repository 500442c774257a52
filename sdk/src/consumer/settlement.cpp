#include "consumer/settlement.hpp"

#include <utility>

namespace tidings {
namespace {

using Kind = Settlement::Kind;

// What the inbox says of a start whose end it does not know: written before the handler runs, replaced when
// the handler has ended.
constexpr const char* ended = "the process ended while handling it";
constexpr const char* ended_after_crowd = "the process ended while handling it, after one in a batch";
constexpr const char* ended_in_crowd = "the process ended while handling it and others";
constexpr std::string_view for_dead_letters = "for the dead letters: ";

}  // namespace

const Handlers::Entry* Handlers::find(const std::string& type) const {
  const auto found = entries_.find(type);
  return found == entries_.end() ? nullptr : &found->second;
}

Settlement FailurePolicy::unhandled(const Delivery& delivery) const {
  if (options_.unhandled == ConsumerOptions::Unhandled::ack) return {.kind = Kind::ignored};
  return {.kind = Kind::dead_letter, .reason = "no handler for the type " + delivery.event.type};
}

Settlement FailurePolicy::current_exception(const Delivery& delivery, const Handlers::Entry& entry) const {
  const auto dead = [&delivery](const char* reason) {
    return Settlement{.kind = Kind::dead_letter, .reason = reason, .attempts = delivery.attempt};
  };
  try {
    throw;
  } catch (const Reject& rejection) {
    return dead(rejection.what());
  } catch (const Undecodable& error) {
    return dead(error.what());
  } catch (const RetryAfter& wish) {
    return failed(delivery, entry, wish.what(), wish.delay());
  } catch (const std::exception& error) {
    return failed(delivery, entry, error.what());
  } catch (...) {
    return failed(delivery, entry, "the handler threw something that is no std::exception");
  }
}

Settlement FailurePolicy::failed(const Delivery& delivery, const Handlers::Entry& entry, std::string reason,
                                 std::optional<std::chrono::milliseconds> delay) const {
  if (delivery.attempt >= max_attempts(entry))
    return {.kind = Kind::dead_letter, .reason = std::move(reason), .attempts = delivery.attempt};
  const auto& backoff = entry.retry.backoff ? *entry.retry.backoff : options_.backoff;
  return {.kind = Kind::retry,
          .delay = delay.value_or(backoff.delay(delivery.attempt, delivery.event.id)),
          .reason = std::move(reason),
          .attempts = delivery.attempt};
}

Settlement FailurePolicy::overdue(const Delivery& delivery, const Handlers::Entry& entry) const {
  return failed(delivery, entry,
                "the handler ran longer than " + std::to_string(options_.handler_time_limit.count()) + " ms");
}

AttemptRecord::AttemptRecord(Inbox::Attempts attempts, bool in_crowd_before)
    : attempts_(std::move(attempts)),
      in_crowd_(attempts_.last_error == ended_in_crowd || (attempts_.starts == 0 && in_crowd_before)),
      after_crowd_(attempts_.last_error == ended_after_crowd),
      alone_(attempts_.last_error == ended),
      dead_(attempts_.last_error.starts_with(for_dead_letters)) {}

std::string AttemptRecord::reason() const {
  if (dead_) return attempts_.last_error.substr(for_dead_letters.size());
  return after_crowd_ || in_crowd_ ? ended : attempts_.last_error;
}

Inbox::Attempts AttemptRecord::alone() const {
  return {.starts = next(), .last_error = in_crowd_ || after_crowd_ ? ended_after_crowd : ended};
}

Inbox::Attempts AttemptRecord::in_crowd() const {
  return {.starts = attempts_.starts, .last_error = ended_in_crowd};
}

Inbox::Attempts AttemptRecord::after(const Delivery& delivery, const Settlement& settlement) {
  const bool dead = settlement.kind == Settlement::Kind::dead_letter;
  return {.starts = delivery.attempt,
          .last_error = dead ? std::string{for_dead_letters} + settlement.reason : settlement.reason};
}

}  // namespace tidings
