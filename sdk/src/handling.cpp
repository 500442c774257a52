#include "handling.hpp"

#include <utility>

namespace tidings {
namespace {

using std::chrono::steady_clock;
using Kind = Verdict::Kind;

// What the inbox says of a start whose end it does not know: written before the handler runs, replaced when
// it throws.
constexpr const char* ended = "the process ended while handling it";
constexpr const char* ended_after_batch = "the process ended while handling it, after one in a batch";

}  // namespace

/// Runs work that leaves nothing behind when it throws, and tells the database's trouble apart.
template <class Work>
auto Handling::guarded(Work&& work) {
  try {
    return work();
  } catch (const Error&) {
    inbox_.rollback();
    throw;
  } catch (const std::exception& error) {
    inbox_.rollback();
    if (inbox_.is_trouble(error)) throw InboxTrouble(error.what());
    throw DatabaseError(std::string("inbox: ") + error.what());
  } catch (...) {
    inbox_.rollback();
    throw;
  }
}

std::vector<Verdict> Handling::together(std::span<Delivery> deliveries) {
  try {
    return in_one_transaction(deliveries);
  } catch (const DatabaseError&) {
    return one_by_one(deliveries);
  }
}

std::vector<Verdict> Handling::in_one_transaction(std::span<Delivery> deliveries) {
  return guarded([&] {
    std::vector<Verdict> verdicts;
    verdicts.reserve(deliveries.size());
    const auto begun = steady_clock::now();
    inbox_.begin();
    for (auto& delivery : deliveries) {
      auto held = held_back(delivery);
      verdicts.push_back(held ? std::move(*held) : in_savepoint(delivery));
      hold_or_release(delivery, verdicts.back());
      if (steady_clock::now() - begun >= options_.max_batch_time) break;
    }
    inbox_.commit();
    return verdicts;
  });
}

std::vector<Verdict> Handling::one_by_one(std::span<Delivery> deliveries) {
  std::vector<Verdict> verdicts;
  const auto begun = steady_clock::now();
  for (auto& delivery : deliveries) {
    delivery.attempt = 0;
    try {
      verdicts.push_back(alone(delivery));
    } catch (const InboxTrouble&) {
      if (verdicts.empty()) throw;
      break;  // those before are committed
    }
    if (steady_clock::now() - begun >= options_.max_batch_time) break;
  }
  return verdicts;
}

std::optional<Verdict> Handling::held_back(const Delivery& delivery) {
  const auto delay = held_.delay(delivery.event.partition_key, delivery.stream_sequence, steady_clock::now());
  if (!delay) return std::nullopt;
  return Verdict{.kind = Kind::held_back, .delay = *delay};
}

void Handling::hold_or_release(const Delivery& delivery, const Verdict& verdict) {
  if (verdict.kind == Kind::held_back || !options_.hold_back) return;
  const auto& key = delivery.event.partition_key;
  if (verdict.kind == Kind::retry)
    held_.hold(key, delivery.stream_sequence, steady_clock::now() + verdict.delay, steady_clock::now());
  else
    held_.release(key, delivery.stream_sequence);
}

Verdict Handling::in_savepoint(Delivery& delivery) {
  const auto* handler = find_handler(delivery.event.type);
  if (handler == nullptr) return unhandled(delivery);
  delivery.attempt = 1;
  inbox_.savepoint();
  if (!inbox_.claim(delivery.event.id)) {
    inbox_.release_savepoint();
    return {.kind = Kind::duplicate};
  }
  Verdict verdict;
  try {
    (*handler)(delivery);
  } catch (...) {
    verdict = judge_current_exception(delivery);
    inbox_.rollback_to_savepoint();
    remember(delivery, verdict);
  }
  inbox_.release_savepoint();
  return verdict;
}

Verdict Handling::alone(Delivery& delivery) {
  if (auto held = held_back(delivery)) return *held;
  auto verdict = alone_unless_held(delivery);
  hold_or_release(delivery, verdict);
  return verdict;
}

Verdict Handling::alone_unless_held(Delivery& delivery) {
  const auto* handler = find_handler(delivery.event.type);
  if (handler == nullptr) return unhandled(delivery);
  return guarded([&]() -> Verdict {
    const auto& id = delivery.event.id;
    inbox_.begin();
    if (inbox_.handled(id)) {
      inbox_.rollback();
      return {.kind = Kind::duplicate};
    }
    const auto attempts = inbox_.attempts(id);
    const bool resumed = delivery.attempt > 0;  // after the inbox's trouble, not the message's: no new start
    // A start in a batch that ended with its process blames nobody. Once the message has ended a process
    // alone, too, that first one was its doing.
    const bool first_in_batch = attempts.last_error == ended_after_batch;
    const int starts = attempts.starts + (first_in_batch ? 1 : 0);
    if (!resumed && starts >= options_.max_attempts) {
      inbox_.rollback();
      return {.kind = Kind::dead_letter,
              .reason = first_in_batch ? ended : attempts.last_error,
              .attempts = starts};
    }
    // The start is on disk before the handler runs; its error is only known if the process survives.
    const bool after_batch = first_in_batch || (attempts.starts == 0 && delivery.delivered > 1);
    if (!resumed)
      inbox_.record_attempts(
          id, {.starts = attempts.starts + 1, .last_error = after_batch ? ended_after_batch : ended});
    inbox_.commit();
    if (!resumed) delivery.attempt = attempts.starts + 1;
    return run_started(delivery, *handler);
  });
}

Verdict Handling::run_started(Delivery& delivery, const ConsumerEngine::Handler& handler) {
  inbox_.begin();
  if (!inbox_.claim(delivery.event.id)) {  // another instance was faster
    inbox_.rollback();
    return {.kind = Kind::duplicate};
  }
  try {
    handler(delivery);
    inbox_.forget_attempts(delivery.event.id);
    inbox_.commit();  // where a deferred constraint fails
  } catch (...) {
    auto verdict = judge_current_exception(delivery);
    inbox_.rollback();
    inbox_.begin();
    remember(delivery, verdict);
    inbox_.commit();
    return verdict;
  }
  return {.kind = Kind::handled, .attempts = delivery.attempt};
}

void Handling::forget(const std::string& event_id) {
  guarded([&] {
    inbox_.begin();
    inbox_.forget_attempts(event_id);
    inbox_.commit();
  });
}

bool Handling::prune(std::chrono::hours age, int limit) {
  return guarded([&] {
    inbox_.begin();
    const bool round_done = inbox_.prune(age, limit);
    inbox_.commit();
    return round_done;
  });
}

const ConsumerEngine::Handler* Handling::find_handler(const std::string& type) const {
  const auto found = handlers_.find(type);
  return found == handlers_.end() ? nullptr : &found->second;
}

Verdict Handling::unhandled(const Delivery& delivery) const {
  if (options_.unhandled == ConsumerOptions::Unhandled::ack) return {.kind = Kind::ignored};
  return {.kind = Kind::dead_letter, .reason = "no handler for the type " + delivery.event.type};
}

Verdict Handling::judge_current_exception(const Delivery& delivery) const {
  const auto dead = [&delivery](const char* reason) {
    return Verdict{.kind = Kind::dead_letter, .reason = reason, .attempts = delivery.attempt};
  };
  try {
    throw;
  } catch (const InboxTrouble&) {
    throw;
  } catch (const Reject& rejection) {
    return dead(rejection.what());
  } catch (const Undecodable& error) {
    return dead(error.what());
  } catch (const RetryAfter& wish) {
    return retry(delivery, wish.what(), wish.delay());
  } catch (const std::exception& error) {
    if (inbox_.is_trouble(error)) throw InboxTrouble(error.what());
    return retry(delivery, error.what(), {});
  } catch (...) {
    return retry(delivery, "the handler threw something that is no std::exception", {});
  }
}

Verdict Handling::retry(const Delivery& delivery, std::string reason,
                        std::optional<std::chrono::milliseconds> delay) const {
  if (delivery.attempt >= options_.max_attempts)
    return {.kind = Kind::dead_letter, .reason = std::move(reason), .attempts = delivery.attempt};
  return {.kind = Kind::retry,
          .delay = delay.value_or(options_.backoff.delay(delivery.attempt, delivery.event.id)),
          .reason = std::move(reason),
          .attempts = delivery.attempt};
}

void Handling::remember(const Delivery& delivery, const Verdict& verdict) {
  // A dead letter's count is full: should its message come back before it is terminated, no
  // handler runs again.
  const int starts = verdict.kind == Kind::dead_letter ? options_.max_attempts : delivery.attempt;
  inbox_.record_attempts(delivery.event.id, {.starts = starts, .last_error = verdict.reason});
}

}  // namespace tidings
