#include "consumer/failure_policy.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

constexpr std::chrono::milliseconds shortest_pause{1};

}  // namespace

using Kind = Settlement::Kind;

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
  } catch (const Unavailable& away) {
    return {.kind = Kind::unavailable,
            .delay = std::max(away.pause(), shortest_pause),
            .reason = away.what(),
            .pauses_consumer = away.pauses() == Unavailable::Pauses::consumer};
  } catch (const std::exception& error) {
    return failed(delivery, entry, error.what());
  } catch (...) {
    return failed(delivery, entry, "the handler threw something that is not a std::exception");
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

}  // namespace tidings
