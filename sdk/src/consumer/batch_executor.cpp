#include "consumer/batch_executor.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using Kind = Settlement::Kind;

// Small enough to waste few claims when the batch runs out of time, large enough to amortise the statement.
constexpr std::size_t claim_step = 50;

std::string key_of(const Delivery& delivery) { return EventKey{identity_of(delivery.event)}.unique(); }

}  // namespace

std::vector<Settlement> BatchExecutor::run_batch(std::span<Delivery* const> batch) {
  if (interrupted_ && interrupted_->event == key_of(*batch.front()))
    return one_by_one(batch);  // its start is written down
  interrupted_.reset();
  handler_ran_ = false;
  try {
    return in_one_transaction(batch);
  } catch (const HandlerUnavailable&) {
    throw;
  } catch (const InboxUnavailable&) {
    // It may be a handler's doing: one by one, that shows. If not even a start can be committed, it is the
    // inbox.
    if (!handler_ran_ || transient_in_batch_.tolerate(key_of(*batch.front()), true, Clock::now())) throw;
  } catch (const DatabaseError&) {  // below
  }
  return one_by_one(batch);
}

std::vector<Settlement> BatchExecutor::in_one_transaction(std::span<Delivery* const> batch) {
  return guarded(inbox_, [&] {
    std::vector<Settlement> settlements;
    settlements.reserve(batch.size());
    const auto begun = Clock::now();
    inbox_.begin();
    for (auto* delivery : batch) {
      if (inbox_.claims_ahead() && settlements.size() % claim_step == 0)
        claim_ahead(batch.subspan(settlements.size()));
      const bool held = key_order_.holds(*delivery);
      try {
        settlements.push_back(held ? Settlement{.kind = Kind::held_back} : in_savepoint(*delivery));
      } catch (const HandlerUnavailable&) {
        if (settlements.empty()) throw;
        undo_handler();  // those before it are committed, and need not run again
        break;
      }
      const auto time = Clock::now();
      if (!held) key_order_.settled(*delivery, settlements.back(), time);
      breakers_.settled(*delivery, settlements.back(), time);
      if (time - begun >= options_.max_batch_time) break;
    }
    inbox_.commit();
    // Their delays begin now: the messages go back after the commit.
    const auto now = Clock::now();
    for (std::size_t i = 0; i < settlements.size(); ++i) key_order_.settled(*batch[i], settlements[i], now);
    return settlements;
  });
}

void BatchExecutor::claim_ahead(std::span<Delivery* const> rest) {
  std::vector<EventIdentity> events;
  for (const auto* delivery : rest.first(std::min(claim_step, rest.size())))
    if (handlers_.find(delivery->event.type) != nullptr) events.push_back(identity_of(delivery->event));
  inbox_.claim_ahead(events);
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
  if (is_given_up(delivery)) return record_given_up(delivery);
  if (auto paused = breakers_.pause(delivery, *entry)) return std::move(*paused);
  const auto before = failures_before(delivery);
  delivery.attempt = before ? before->starts + 1 : 1;
  if (!inbox_.claim(identity_of(delivery.event))) return {.kind = Kind::duplicate};
  inbox_.savepoint();
  auto settlement = run(delivery, *entry);
  if (settlement.kind == Kind::handled) {
    inbox_.release_savepoint();
    if (before) inbox_.forget_attempts(AttemptsKey{delivery}.identity());
    return settlement;
  }
  undo_handler();
  // Where there is another count by now, another copy of it has failed, or another instance has started it.
  if (settlement.kind == Kind::dead_letter ||
      (settlement.kind != Kind::unavailable && poison_.attempts(delivery) == before))
    poison_.fail(delivery, settlement);
  return settlement;
}

/// Handed out for the first time, it has none.
std::optional<Inbox::Attempts> BatchExecutor::failures_before(const Delivery& delivery) {
  if (delivery.delivered <= 1) return std::nullopt;
  auto known = poison_.attempts(delivery);
  if (!known || known->state != Inbox::Attempts::State::failed) return std::nullopt;
  return known;
}

void BatchExecutor::undo_handler() {
  inbox_.rollback_to_savepoint();
  inbox_.unclaim();
  inbox_.release_savepoint();
}

/// Its handler ran too long. Cutting that handler off undoes the whole batch, which then comes here again.
bool BatchExecutor::is_given_up(const Delivery& delivery) const {
  return given_up_.stream_sequence == delivery.stream_sequence && given_up_.delivered == delivery.delivered;
}

/// Unless another instance has started it meanwhile, its attempt is written down.
Settlement BatchExecutor::record_given_up(const Delivery& delivery) {
  if (inbox_.claim(identity_of(delivery.event))) {
    inbox_.unclaim();
    if (poison_.attempts(delivery) == failures_before(delivery)) poison_.fail(delivery, given_up_.settlement);
  }
  return given_up_.settlement;
}

Settlement BatchExecutor::run_isolated(Delivery& delivery) {
  const auto* entry = handlers_.find(delivery.event.type);
  Settlement settlement{.kind = Kind::held_back};
  if (!key_order_.holds(delivery))
    settlement = entry != nullptr ? start_and_run(delivery, *entry) : policy_.unhandled(delivery);
  const auto time = Clock::now();
  key_order_.settled(delivery, settlement, time);
  breakers_.settled(delivery, settlement, time);
  return settlement;
}

/// The start is on disk before the handler runs; its end is only known if the process survives.
Settlement BatchExecutor::start_and_run(Delivery& delivery, const Handlers::Entry& entry) {
  if (auto paused = breakers_.pause(delivery, entry)) return std::move(*paused);
  auto settlement = guarded(inbox_, [&] {
    if (!interrupted_ || interrupted_->event != key_of(delivery)) {
      inbox_.begin();
      auto decision = poison_.start(delivery, entry, {.isolated = true});
      inbox_.commit();
      if (decision.settled) return std::move(*decision.settled);
      interrupted_ = Interrupted{key_of(delivery), std::move(*decision.start)};
    }
    return run_started(delivery, entry);
  });
  interrupted_.reset();
  return settlement;
}

Settlement BatchExecutor::run_started(Delivery& delivery, const Handlers::Entry& entry) {
  inbox_.begin();
  Settlement settlement{.kind = Kind::duplicate};  // another instance was faster
  if (inbox_.claim(identity_of(delivery.event))) settlement = run(delivery, entry);
  if (settlement.kind == Kind::handled || settlement.kind == Kind::duplicate) {
    try {
      inbox_.forget_attempts(AttemptsKey{delivery}.identity());
      inbox_.commit();  // where a deferred constraint fails
      return settlement;
    } catch (const TenureLost&) {
      throw;  // the event is another instance's
    } catch (const std::exception& error) {
      if (settlement.kind == Kind::duplicate) throw;
      if (inbox_.is_transient(error) && tolerates(delivery)) throw;
      settlement = policy_.current_exception(delivery, entry);
    }
  }
  inbox_.rollback();
  inbox_.begin();
  if (settlement.kind == Kind::unavailable)
    poison_.undo(delivery, interrupted_->start);
  else if (poison_.is_latest(delivery, interrupted_->start))
    poison_.fail(delivery, settlement);
  else
    settlement.kind = Kind::fenced;  // while the handler was late, another instance has started the event
  inbox_.commit();
  return settlement;
}

/// Calls the handler. The caller undoes its writes when it is not `handled`.
Settlement BatchExecutor::run(Delivery& delivery, const Handlers::Entry& entry) {
  const auto begun = Clock::now();
  running_since_ = begun.time_since_epoch().count();
  running_ = delivery.stream_sequence;
  inbox_.waits(false);
  Settlement settlement{.kind = Kind::handled, .attempts = delivery.attempt};
  handler_ran_ = true;
  try {
    entry.handle(delivery);
    inbox_.require_sound();
  } catch (const std::exception& error) {
    running_ = 0;
    inbox_.waits(true);
    // A late handler may have been cut off from the inbox, and its message is not ours any more.
    const bool late = Clock::now() - begun > options_.handler_time_limit;
    if (!late && inbox_.is_transient_in_handler(error) && tolerates(delivery))
      throw HandlerUnavailable(delivery.event.type, error.what());
    settlement = policy_.current_exception(delivery, entry);
  } catch (...) {
    settlement = policy_.current_exception(delivery, entry);
  }
  running_ = 0;
  inbox_.waits(true);
  if (settlement.kind != Kind::handled)
    if (const auto remark = inbox_.remark_on_failure(); !settlement.reason.ends_with(remark))
      settlement.reason += "; " + remark;
  const auto took = Clock::now() - begun;
  if (took > options_.handler_time_limit) {
    // The message is no longer kept alive and may be with another instance by now: the writes are undone.
    settlement = policy_.overdue(delivery, entry);
    if (settlement.kind == Kind::retry) settlement.kind = Kind::fenced;
    given_up_ = {delivery.delivered, delivery.stream_sequence, settlement};
  }
  settlement.took = took;
  return settlement;
}

/// A transient error of its handler's, or of the commit behind it: false when that counts as a failure.
bool BatchExecutor::tolerates(const Delivery& delivery) {
  return transient_.tolerate(key_of(delivery), inbox_.in_transaction(), Clock::now());
}

std::optional<BatchExecutor::Running> BatchExecutor::running() const {
  const auto sequence = running_.load();
  const auto since = Clock::time_point{Clock::duration{running_since_.load()}};
  const bool same = running_ == sequence;  // else `since` may be of the next one
  if (sequence == 0 || !same) return std::nullopt;
  return Running{sequence, since};
}

std::optional<BatchExecutor::Running> BatchExecutor::overdue() const {
  const auto handler = running();
  if (!handler || Clock::now() - handler->since <= options_.handler_time_limit) return std::nullopt;
  return handler;
}

}  // namespace tidings
