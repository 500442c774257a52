#include "consumer/handling.hpp"

#include "consumer/attempt_record.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using std::chrono::steady_clock;
using Kind = Settlement::Kind;

/// So few that little is claimed in vain when the batch's time is up, so many that their one statement costs
/// little.
constexpr std::size_t claim_step = 50;

}  // namespace

/// Runs work that leaves nothing behind when it throws, and tells the database's trouble apart.
template <class Work>
auto Handling::guarded(Work&& work) {
  try {
    return work();
  } catch (const InboxUnavailable&) {
    inbox_.rollback();
    throw;
  } catch (const std::exception& error) {
    inbox_.rollback();
    if (inbox_.is_transient(error)) throw InboxUnavailable(error.what());
    throw DatabaseError(std::string("inbox: ") + error.what());
  } catch (...) {
    inbox_.rollback();
    throw;
  }
}

std::vector<Settlement> Handling::together(std::span<Delivery* const> batch) {
  try {
    return in_one_transaction(batch);
  } catch (const DatabaseError&) {
    return one_by_one(batch);
  }
}

std::vector<Settlement> Handling::in_one_transaction(std::span<Delivery* const> batch) {
  return guarded([&] {
    std::vector<Settlement> settlements;
    settlements.reserve(batch.size());
    const auto begun = steady_clock::now();
    inbox_.begin();
    for (auto* delivery : batch) {
      if (inbox_.claims_ahead() && settlements.size() % claim_step == 0)
        claim_ahead(
            batch.subspan(settlements.size(), std::min(claim_step, batch.size() - settlements.size())));
      settlements.push_back(held_back(*delivery) ? Settlement{.kind = Kind::held_back}
                                                 : in_savepoint(*delivery));
      const auto now = steady_clock::now();
      if (settlements.back().kind != Kind::held_back) hold_or_release(*delivery, settlements.back(), now);
      if (now - begun >= options_.max_batch_time) break;
    }
    inbox_.commit();
    // Their delays begin now: the messages go back after the commit.
    const auto now = steady_clock::now();
    for (std::size_t i = 0; i < settlements.size(); ++i) hold_or_release(*batch[i], settlements[i], now);
    return settlements;
  });
}

void Handling::claim_ahead(std::span<Delivery* const> batch) {
  std::vector<std::string> ids;
  for (const auto* delivery : batch)
    if (handlers_.find(delivery->event.type) != nullptr) ids.push_back(delivery->event.id);
  inbox_.claim_ahead(ids);
}

std::vector<Settlement> Handling::one_by_one(std::span<Delivery* const> batch) {
  std::vector<Settlement> settlements;
  const auto begun = steady_clock::now();
  for (auto* delivery : batch) {
    delivery->attempt = 0;
    try {
      settlements.push_back(alone(*delivery));
    } catch (const InboxUnavailable&) {
      if (settlements.empty()) throw;
      break;  // those before are committed
    }
    if (steady_clock::now() - begun >= options_.max_batch_time) break;
  }
  return settlements;
}

bool Handling::held_back(const Delivery& delivery) {
  return held_.holds(delivery.event.partition_key, delivery.stream_sequence);
}

void Handling::hold_or_release(const Delivery& delivery, Settlement& settlement,
                               steady_clock::time_point now) {
  if (!options_.hold_back) return;
  const auto& key = delivery.event.partition_key;
  if (settlement.kind == Kind::held_back)
    settlement.delay = held_.nak(key, delivery.stream_sequence, now);
  else if (settlement.kind == Kind::retry || settlement.kind == Kind::fenced)
    held_.hold(key, delivery.stream_sequence, now + settlement.delay);
  else
    held_.release(key, delivery.stream_sequence);
}

Settlement Handling::in_savepoint(Delivery& delivery) {
  const auto* entry = handlers_.find(delivery.event.type);
  if (entry == nullptr) return policy_.unhandled(delivery);
  delivery.attempt = 1;
  inbox_.savepoint();
  if (!inbox_.claim(delivery.event.id)) {
    inbox_.release_savepoint();
    return {.kind = Kind::duplicate};
  }
  auto settlement = run(delivery, *entry);
  if (settlement.kind != Kind::handled) {
    inbox_.rollback_to_savepoint();
    inbox_.record_attempts(delivery.event.id, AttemptRecord::after(delivery, settlement));
  }
  inbox_.release_savepoint();
  return settlement;
}

Settlement Handling::alone(Delivery& delivery) {
  auto settlement = held_back(delivery) ? Settlement{.kind = Kind::held_back} : alone_unless_held(delivery);
  hold_or_release(delivery, settlement, steady_clock::now());
  return settlement;
}

Settlement Handling::alone_unless_held(Delivery& delivery) {
  const auto* entry = handlers_.find(delivery.event.type);
  if (entry == nullptr) return policy_.unhandled(delivery);
  return guarded([&]() -> Settlement {
    const auto& id = delivery.event.id;
    inbox_.begin();
    if (inbox_.handled(id)) {
      forget_and_commit(id);
      return {.kind = Kind::duplicate};
    }
    const AttemptRecord starts{inbox_.attempts(id), delivery.delivered > 1};
    const bool resumed = delivery.attempt > 0;  // after the inbox's trouble, not the message's: no new start
    if (!resumed && starts.over(policy_.max_attempts(*entry))) {
      inbox_.rollback();
      return {.kind = Kind::dead_letter, .reason = starts.reason(), .attempts = starts.failed()};
    }
    // The start is on disk before the handler runs; its error is only known if the process survives.
    if (!resumed) inbox_.record_attempts(id, starts.run_isolated());
    inbox_.commit();
    if (!resumed) delivery.attempt = starts.next();
    return run_started(delivery, *entry);
  });
}

Settlement Handling::run_started(Delivery& delivery, const Handlers::Entry& entry) {
  inbox_.begin();
  if (!inbox_.claim(delivery.event.id)) {  // another instance was faster
    forget_and_commit(delivery.event.id);
    return {.kind = Kind::duplicate};
  }
  auto settlement = run(delivery, entry);
  if (settlement.kind == Kind::handled) {
    try {
      forget_and_commit(delivery.event.id);  // where a deferred constraint fails
      return settlement;
    } catch (const std::exception& error) {
      if (inbox_.is_transient(error)) throw;
      settlement = policy_.current_exception(delivery, entry);
    }
  }
  inbox_.rollback();
  inbox_.begin();
  inbox_.record_attempts(delivery.event.id, AttemptRecord::after(delivery, settlement));
  inbox_.commit();
  return settlement;
}

/// Calls the handler; the caller undoes its writes when the settlement is another than `handled`.
Settlement Handling::run(Delivery& delivery, const Handlers::Entry& entry) {
  const auto begun = steady_clock::now();
  running_since_ = begun.time_since_epoch().count();
  running_ = delivery.stream_sequence;
  Settlement settlement{.kind = Kind::handled, .attempts = delivery.attempt};
  try {
    entry.handle(delivery);
    inbox_.require_sound();
  } catch (const std::exception& error) {
    running_ = 0;
    if (inbox_.is_transient_in_handler(error)) throw InboxUnavailable(error.what());
    settlement = policy_.current_exception(delivery, entry);
  } catch (...) {
    settlement = policy_.current_exception(delivery, entry);
  }
  running_ = 0;
  const auto took = steady_clock::now() - begun;
  if (took > options_.handler_time_limit) {
    // No longer kept alive, the message may be with another instance by now: what was written here is undone.
    settlement = policy_.overdue(delivery, entry);
    if (settlement.kind == Kind::retry) settlement.kind = Kind::fenced;
  }
  settlement.took = took;
  return settlement;
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
