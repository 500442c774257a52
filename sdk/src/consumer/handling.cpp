#include "consumer/handling.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using std::chrono::steady_clock;
using Kind = Verdict::Kind;

/// So few that little is claimed in vain when the batch's time is up, so many that their one statement costs
/// little.
constexpr std::size_t claim_step = 50;

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

std::vector<Verdict> Handling::together(std::span<Delivery* const> batch) {
  try {
    return in_one_transaction(batch);
  } catch (const DatabaseError&) {
    return one_by_one(batch);
  }
}

std::vector<Verdict> Handling::in_one_transaction(std::span<Delivery* const> batch) {
  return guarded([&] {
    std::vector<Verdict> verdicts;
    verdicts.reserve(batch.size());
    const auto begun = steady_clock::now();
    inbox_.begin();
    for (auto* delivery : batch) {
      if (inbox_.claims_ahead() && verdicts.size() % claim_step == 0)
        claim_ahead(batch.subspan(verdicts.size(), std::min(claim_step, batch.size() - verdicts.size())));
      auto held = held_back(*delivery);
      verdicts.push_back(held ? std::move(*held) : in_savepoint(*delivery));
      hold_or_release(*delivery, verdicts.back());
      if (steady_clock::now() - begun >= options_.max_batch_time) break;
    }
    inbox_.commit();
    return verdicts;
  });
}

void Handling::claim_ahead(std::span<Delivery* const> batch) {
  std::vector<std::string> ids;
  for (const auto* delivery : batch)
    if (handlers_.find(delivery->event.type) != nullptr) ids.push_back(delivery->event.id);
  inbox_.claim_ahead(ids);
}

std::vector<Verdict> Handling::one_by_one(std::span<Delivery* const> batch) {
  std::vector<Verdict> verdicts;
  const auto begun = steady_clock::now();
  for (auto* delivery : batch) {
    delivery->attempt = 0;
    try {
      verdicts.push_back(alone(*delivery));
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
  if (verdict.kind == Kind::retry || verdict.kind == Kind::fenced)
    held_.hold(key, delivery.stream_sequence, steady_clock::now() + verdict.delay, steady_clock::now());
  else
    held_.release(key, delivery.stream_sequence);
}

Verdict Handling::in_savepoint(Delivery& delivery) {
  const auto* entry = handlers_.find(delivery.event.type);
  if (entry == nullptr) return judge_.unhandled(delivery);
  delivery.attempt = 1;
  inbox_.savepoint();
  if (!inbox_.claim(delivery.event.id)) {
    inbox_.release_savepoint();
    return {.kind = Kind::duplicate};
  }
  auto verdict = run(delivery, *entry);
  if (verdict.kind != Kind::handled) {
    inbox_.rollback_to_savepoint();
    inbox_.record_attempts(delivery.event.id, Starts::after(delivery, verdict));
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
  const auto* entry = handlers_.find(delivery.event.type);
  if (entry == nullptr) return judge_.unhandled(delivery);
  return guarded([&]() -> Verdict {
    const auto& id = delivery.event.id;
    inbox_.begin();
    if (inbox_.handled(id)) {
      forget_and_commit(id);
      return {.kind = Kind::duplicate};
    }
    const Starts starts{inbox_.attempts(id), delivery.delivered > 1};
    const bool resumed = delivery.attempt > 0;  // after the inbox's trouble, not the message's: no new start
    if (!resumed && starts.over(judge_.max_attempts(*entry))) {
      inbox_.rollback();
      return {.kind = Kind::dead_letter, .reason = starts.reason(), .attempts = starts.failed()};
    }
    // The start is on disk before the handler runs; its error is only known if the process survives.
    if (!resumed) inbox_.record_attempts(id, starts.alone());
    inbox_.commit();
    if (!resumed) delivery.attempt = starts.next();
    return run_started(delivery, *entry);
  });
}

Verdict Handling::run_started(Delivery& delivery, const Handlers::Entry& entry) {
  inbox_.begin();
  if (!inbox_.claim(delivery.event.id)) {  // another instance was faster
    forget_and_commit(delivery.event.id);
    return {.kind = Kind::duplicate};
  }
  auto verdict = run(delivery, entry);
  if (verdict.kind == Kind::handled) {
    try {
      forget_and_commit(delivery.event.id);  // where a deferred constraint fails
      return verdict;
    } catch (const std::exception& error) {
      if (inbox_.is_trouble(error)) throw;
      verdict = judge_.current_exception(delivery, entry);
    }
  }
  inbox_.rollback();
  inbox_.begin();
  inbox_.record_attempts(delivery.event.id, Starts::after(delivery, verdict));
  inbox_.commit();
  return verdict;
}

/// Calls the handler; the caller undoes its writes when the verdict is another than `handled`.
Verdict Handling::run(Delivery& delivery, const Handlers::Entry& entry) {
  const auto begun = steady_clock::now();
  running_since_ = begun.time_since_epoch().count();
  running_ = delivery.stream_sequence;
  Verdict verdict{.kind = Kind::handled, .attempts = delivery.attempt};
  try {
    entry.handle(delivery);
    inbox_.require_sound();
  } catch (const std::exception& error) {
    running_ = 0;
    if (inbox_.is_trouble_in_handler(error)) throw InboxTrouble(error.what());
    verdict = judge_.current_exception(delivery, entry);
  } catch (...) {
    verdict = judge_.current_exception(delivery, entry);
  }
  running_ = 0;
  const auto took = steady_clock::now() - begun;
  if (took > options_.handler_time_limit) {
    // No longer kept alive, the message may be with another instance by now: what was written here is undone.
    verdict = judge_.overdue(delivery, entry);
    if (verdict.kind == Kind::retry) verdict.kind = Kind::fenced;
  }
  verdict.took = took;
  return verdict;
}

bool Handling::overdue(std::uint64_t stream_sequence) const {
  const auto since = steady_clock::time_point{steady_clock::duration{running_since_.load()}};
  return running_ == stream_sequence && steady_clock::now() - since > options_.handler_time_limit;
}

void Handling::forget(const std::string& event_id) {
  guarded([&] {
    inbox_.begin();
    forget_and_commit(event_id);
  });
}

/// Also of an event that is handled already: a copy of it may have succeeded between a failure and its retry.
void Handling::forget_and_commit(const std::string& event_id) {
  inbox_.forget_attempts(event_id);
  inbox_.commit();
}

bool Handling::prune(std::chrono::hours age, int limit) {
  return guarded([&] {
    inbox_.begin();
    const bool round_done = inbox_.prune(age, limit);
    inbox_.commit();
    return round_done;
  });
}

}  // namespace tidings
