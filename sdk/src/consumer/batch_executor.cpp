#include "consumer/batch_executor.hpp"

#include "consumer/attempt_record.hpp"
#include "consumer/inbox_guard.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using Kind = Settlement::Kind;

/// So few that little is claimed in vain when the batch's time is up, so many that their one statement costs
/// little.
constexpr std::size_t claim_step = 50;

}  // namespace

std::vector<Settlement> BatchExecutor::run_batch(std::span<Delivery* const> batch) {
  interrupted_.reset();
  try {
    return in_one_transaction(batch);
  } catch (const DatabaseError&) {
    return one_by_one(batch);
  }
}

std::vector<Settlement> BatchExecutor::in_one_transaction(std::span<Delivery* const> batch) {
  return guarded(inbox_, [&] {
    std::vector<Settlement> settlements;
    settlements.reserve(batch.size());
    const auto begun = Clock::now();
    inbox_.begin();
    for (auto* delivery : batch) {
      if (inbox_.claims_ahead() && settlements.size() % claim_step == 0)
        claim_ahead(
            batch.subspan(settlements.size(), std::min(claim_step, batch.size() - settlements.size())));
      const bool held = hold_back_.holds(*delivery);
      settlements.push_back(held ? Settlement{.kind = Kind::held_back} : in_savepoint(*delivery));
      const auto now = Clock::now();
      if (!held) hold_back_.settled(*delivery, settlements.back(), now);
      if (now - begun >= options_.max_batch_time) break;
    }
    inbox_.commit();
    // Their delays begin now: the messages go back after the commit.
    const auto now = Clock::now();
    for (std::size_t i = 0; i < settlements.size(); ++i) hold_back_.settled(*batch[i], settlements[i], now);
    return settlements;
  });
}

void BatchExecutor::claim_ahead(std::span<Delivery* const> batch) {
  std::vector<std::string> ids;
  for (const auto* delivery : batch)
    if (handlers_.find(delivery->event.type) != nullptr) ids.push_back(delivery->event.id);
  inbox_.claim_ahead(ids);
}

std::vector<Settlement> BatchExecutor::one_by_one(std::span<Delivery* const> batch) {
  std::vector<Settlement> settlements;
  const auto begun = Clock::now();
  for (auto* delivery : batch) {
    try {
      settlements.push_back(run_isolated(*delivery));
    } catch (const InboxUnavailable&) {
      if (settlements.empty()) throw;
      break;  // those before are committed
    }
    if (Clock::now() - begun >= options_.max_batch_time) break;
  }
  return settlements;
}

Settlement BatchExecutor::in_savepoint(Delivery& delivery) {
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
    attempts_.fail(delivery, settlement);
  }
  inbox_.release_savepoint();
  return settlement;
}

Settlement BatchExecutor::run_isolated(Delivery& delivery) {
  const auto* entry = handlers_.find(delivery.event.type);
  Settlement settlement{.kind = Kind::held_back};
  if (!hold_back_.holds(delivery))
    settlement = entry != nullptr ? start_and_run(delivery, *entry) : policy_.unhandled(delivery);
  hold_back_.settled(delivery, settlement, Clock::now());
  return settlement;
}

Settlement BatchExecutor::start_and_run(Delivery& delivery, const Handlers::Entry& entry) {
  auto settlement = guarded(inbox_, [&] {
    auto settled = commit_start(delivery, entry);
    return settled ? std::move(*settled) : run_started(delivery, entry);
  });
  interrupted_.reset();
  return settlement;
}

/// The start is on disk before the handler runs; its end is only known if the process survives.
std::optional<Settlement> BatchExecutor::commit_start(Delivery& delivery, const Handlers::Entry& entry) {
  if (interrupted_ == delivery.event.id) return std::nullopt;
  inbox_.begin();
  const AttemptRecord record{inbox_.attempts(delivery.event.id), delivery.delivered > 1};
  auto settled = attempts_.settled_before(delivery, entry, record);
  if (!settled)
    attempts_.begin(delivery, record.run_isolated());
  else if (settled->kind == Kind::duplicate)
    attempts_.forget(delivery);
  inbox_.commit();
  if (!settled) {
    delivery.attempt = record.next();
    interrupted_ = delivery.event.id;
  }
  return settled;
}

Settlement BatchExecutor::run_started(Delivery& delivery, const Handlers::Entry& entry) {
  inbox_.begin();
  if (!inbox_.claim(delivery.event.id)) {  // another instance was faster
    forget_and_commit(delivery);
    return {.kind = Kind::duplicate};
  }
  auto settlement = run(delivery, entry);
  if (settlement.kind == Kind::handled) {
    try {
      forget_and_commit(delivery);  // where a deferred constraint fails
      return settlement;
    } catch (const std::exception& error) {
      if (inbox_.is_transient(error)) throw;
      settlement = policy_.current_exception(delivery, entry);
    }
  }
  inbox_.rollback();
  inbox_.begin();
  attempts_.fail(delivery, settlement);
  inbox_.commit();
  return settlement;
}

/// Calls the handler; the caller undoes its writes when the settlement is another than `handled`.
Settlement BatchExecutor::run(Delivery& delivery, const Handlers::Entry& entry) {
  const auto begun = Clock::now();
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
  const auto took = Clock::now() - begun;
  if (took > options_.handler_time_limit) {
    // No longer kept alive, the message may be with another instance by now: what was written here is undone.
    settlement = policy_.overdue(delivery, entry);
    if (settlement.kind == Kind::retry) settlement.kind = Kind::fenced;
  }
  settlement.took = took;
  return settlement;
}

bool BatchExecutor::overdue(std::uint64_t stream_sequence) const {
  const auto since = Clock::time_point{Clock::duration{running_since_.load()}};
  return running_ == stream_sequence && Clock::now() - since > options_.handler_time_limit;
}

void BatchExecutor::forget_and_commit(const Delivery& delivery) {
  attempts_.forget(delivery);
  inbox_.commit();
}

void BatchExecutor::forget(const std::string& event_id) {
  guarded(inbox_, [&] {
    inbox_.begin();
    inbox_.forget_attempts(event_id);
    inbox_.commit();
  });
}

bool BatchExecutor::prune(std::chrono::hours age, int limit) {
  return guarded(inbox_, [&] {
    inbox_.begin();
    const bool round_done = inbox_.prune(age, limit);
    inbox_.commit();
    return round_done;
  });
}

}  // namespace tidings
