#include "consumer/concurrent_handling.hpp"

#include "consumer/attempt_record.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace tidings {
namespace {

using std::chrono::steady_clock;
using Kind = Settlement::Kind;

// Started ahead for each worker, so that none waits for the commit that starts its next event.
constexpr std::size_t started_ahead = 2;

/// Events without a key wait for none but a second copy of themselves.
std::string lane_of(const Event& event) {
  return event.partition_key.empty() ? " " + event.id : event.partition_key;
}

}  // namespace

ConcurrentHandling::ConcurrentHandling(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options,
                                       std::function<void()> wake)
    : inbox_(inbox),
      handlers_(handlers),
      options_(options),
      policy_(options),
      held_(2 * options.ack_wait),
      pool_(options.workers, policy_, std::move(wake)) {}

void ConcurrentHandling::submit(Ticket ticket, Delivery delivery) {
  const auto& event = delivery.event;
  const auto sequence = delivery.stream_sequence;
  if (held_.holds(event.partition_key, sequence)) {
    held_back_.push_back({ticket, std::move(delivery), {.kind = Kind::held_back}});
    return;
  }
  held_.release(event.partition_key, sequence);
  auto run = std::make_shared<Run>();
  run->ticket = ticket;
  run->lane = lane_of(event);
  run->entry = handlers_.find(event.type);
  run->delivery = std::move(delivery);
  lanes_.add(run->lane, ticket, sequence);
  runs_.emplace(ticket, std::move(run));
}

bool ConcurrentHandling::more_to_do() {
  collect_ended();
  choose_candidates();
  return !ended_.empty() || !candidates_.empty() || !held_back_.empty();
}

std::vector<ConcurrentHandling::Settled> ConcurrentHandling::step() {
  collect_ended();
  choose_candidates();
  std::vector<Settlement> ends;
  std::vector<std::optional<Settlement>> begins;
  if (!ended_.empty() || !candidates_.empty()) {
    transact([&] {
      for (const auto& run : ended_) ends.push_back(end(*run));
      for (const auto& run : candidates_) begins.push_back(begin(*run));
    });
  }

  auto settled = give_back_held();
  for (std::size_t i = 0; i < ends.size(); ++i) settle(ended_[i], std::move(ends[i]), settled);
  ended_.clear();
  const bool one_alone = !suspects_.empty();
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const auto& run = candidates_[i];
    if (begins[i]) {
      if (one_alone) suspects_.pop_front();
      settle(run, std::move(*begins[i]), settled);
    } else if (!run->kept) {
      suspects_.push_back(run);
    } else {
      if (one_alone) suspects_.pop_front();
      active_.emplace(run->ticket, run);
      pool_.start(run);
    }
  }
  candidates_.clear();
  return settled;
}

/// From the workers, and those that ran too long.
void ConcurrentHandling::collect_ended() {
  for (auto& run : pool_.take_ended()) {
    if (run->abandoned) {
      --stuck_;
    } else {
      active_.erase(run->ticket);
      ended_.push_back(std::move(run));
    }
  }
  const auto time = steady_clock::now();
  for (auto next = active_.begin(); next != active_.end();) {
    const auto& run = next->second;
    if (run->started == 0 || time - run->started_at() <= options_.handler_time_limit) {
      ++next;
      continue;
    }
    // The worker keeps the run; what goes on is a copy of it.
    run->abandoned = true;
    ++stuck_;
    auto given_up = std::make_shared<Run>();
    given_up->ticket = run->ticket;
    given_up->lane = run->lane;
    given_up->delivery = run->delivery;
    given_up->entry = run->entry;
    given_up->before = run->before;
    given_up->kept = run->kept;
    given_up->settlement = policy_.overdue(run->delivery, *run->entry);
    ended_.push_back(std::move(given_up));
    next = active_.erase(next);
  }
}

void ConcurrentHandling::choose_candidates() {
  if (!candidates_.empty()) return;  // of a commit that failed
  if (all_stuck()) return;
  if (!suspects_.empty()) {
    if (active_.empty()) {
      suspects_.front()->alone = true;
      candidates_.push_back(suspects_.front());
    }
    return;
  }
  if (std::any_of(active_.begin(), active_.end(), [](const auto& entry) { return entry.second->alone; }))
    return;
  const auto most = static_cast<std::size_t>(options_.workers) * (1 + started_ahead);
  while (active_.size() + candidates_.size() < most) {
    const auto ticket = lanes_.next();
    if (!ticket) return;
    candidates_.push_back(runs_.at(*ticket));
  }
}

/// Inside the transaction: the inbox row of a success, the count of a failure. Whoever was started after
/// this run has written another count: then that one owns the event.
Settlement ConcurrentHandling::end(const Run& run) {
  const auto& id = run.delivery.event.id;
  auto settlement = run.settlement;
  if (inbox_.attempts(id) != run.kept) {
    settlement.kind = inbox_.handled(id) ? Kind::duplicate : Kind::fenced;
  } else if (settlement.kind != Kind::handled) {
    inbox_.record_attempts(id, AttemptRecord::after(run.delivery, settlement));
  } else if (inbox_.claim(id)) {
    inbox_.forget_attempts(id);
  } else {
    settlement.kind = Kind::duplicate;
  }
  return settlement;
}

/// Inside the transaction: writes down the start, or says why there is none. Neither for a suspect that is to
/// run alone, later.
std::optional<Settlement> ConcurrentHandling::begin(Run& run) {
  auto& delivery = run.delivery;
  const auto& id = delivery.event.id;
  run.kept.reset();
  if (run.entry == nullptr) return policy_.unhandled(delivery);
  if (inbox_.handled(id)) return Settlement{.kind = Kind::duplicate};
  auto known = inbox_.attempts(id);
  const AttemptRecord starts{known, false};
  if (starts.over(policy_.max_attempts(*run.entry)))
    return Settlement{.kind = Kind::dead_letter, .reason = starts.reason(), .attempts = starts.failed()};
  if (starts.suspect() && !run.alone) return std::nullopt;
  delivery.attempt = starts.next();
  run.before = std::move(known);
  run.kept = run.alone ? starts.run_isolated() : starts.run_in_batch();
  inbox_.record_attempts(id, *run.kept);
  return std::nullopt;
}

/// Not before the commit: their delays begin when they are sent.
std::vector<ConcurrentHandling::Settled> ConcurrentHandling::give_back_held() {
  auto settled = std::exchange(held_back_, {});
  const auto time = steady_clock::now();
  for (auto& [ticket, delivery, settlement] : settled)
    settlement.delay = held_.nak(delivery.event.partition_key, delivery.stream_sequence, time);
  return settled;
}

void ConcurrentHandling::settle(const RunPtr& run, Settlement settlement, std::vector<Settled>& settled) {
  hold_or_release(*run, settlement, settled);
  lanes_.done(run->lane);
  runs_.erase(run->ticket);
  settled.push_back({run->ticket, std::move(run->delivery), std::move(settlement)});
}

/// What waits behind a retry goes back with it.
void ConcurrentHandling::hold_or_release(const Run& run, const Settlement& settlement,
                                         std::vector<Settled>& settled) {
  if (!options_.hold_back) return;
  const auto& key = run.delivery.event.partition_key;
  const auto sequence = run.delivery.stream_sequence;
  if (settlement.kind != Kind::retry && settlement.kind != Kind::fenced) return held_.release(key, sequence);
  const auto time = steady_clock::now();
  held_.hold(key, sequence, time + settlement.delay);
  for (const auto ticket : lanes_.clear(run.lane)) {
    const auto waiting = runs_.at(ticket);
    const auto its_sequence = waiting->delivery.stream_sequence;
    if (!held_.holds(key, its_sequence)) {
      lanes_.add(run.lane, ticket, its_sequence);
      continue;
    }
    runs_.erase(ticket);
    const auto delay = held_.nak(key, its_sequence, time);
    settled.push_back({ticket, std::move(waiting->delivery), {.kind = Kind::held_back, .delay = delay}});
  }
}

std::optional<steady_clock::time_point> ConcurrentHandling::next_overdue() const {
  std::optional<steady_clock::time_point> first;
  for (const auto& [ticket, run] : active_)
    if (run->started != 0 && (!first || run->started_at() < *first)) first = run->started_at();
  if (first) *first += options_.handler_time_limit + std::chrono::milliseconds{1};
  return first;
}

std::vector<ConcurrentHandling::Settled> ConcurrentHandling::withdraw(std::chrono::milliseconds delay) {
  std::ranges::move(pool_.take_back(), std::back_inserter(taken_back_));
  if (!taken_back_.empty()) transact([&] { undo_starts(taken_back_); });
  auto back = std::exchange(taken_back_, {});
  (void)lanes_.clear();
  for (const auto& run : back) active_.erase(run->ticket);
  std::ranges::move(std::exchange(suspects_, {}), std::back_inserter(back));
  std::ranges::move(std::exchange(candidates_, {}), std::back_inserter(back));
  for (const auto& run : back) lanes_.done(run->lane);
  auto settled = give_back_held();
  const auto time = steady_clock::now();
  for (auto next = runs_.begin(); next != runs_.end();) {
    const auto& run = next->second;
    const bool begun = run->abandoned || active_.contains(next->first) ||
                       std::find(ended_.begin(), ended_.end(), run) != ended_.end();
    if (begun) {
      ++next;
      continue;
    }
    const auto& event = run->delivery.event;
    if (options_.hold_back) held_.hold(event.partition_key, run->delivery.stream_sequence, time + delay);
    settled.push_back({next->first, std::move(run->delivery), {.kind = Kind::not_started, .delay = delay}});
    next = runs_.erase(next);
  }
  std::ranges::sort(settled, {}, &Settled::ticket);  // whoever gets them next gets them in their order
  return settled;
}

void ConcurrentHandling::undo_starts(const std::vector<RunPtr>& runs) {
  for (const auto& run : runs) {
    const auto& id = run->delivery.event.id;
    if (inbox_.attempts(id) != run->kept) continue;
    if (run->before)
      inbox_.record_attempts(id, *run->before);
    else
      inbox_.forget_attempts(id);
  }
}

std::vector<ConcurrentHandling::Settled> ConcurrentHandling::abandon_all() {
  // Before anyone else can start them: nothing has failed, and no process has ended while handling them.
  auto begun = ended_;
  for (const auto& [ticket, run] : active_) begun.push_back(run);  // those taken back are among them
  try {
    // Where the last commit failed, this one would only make the stop wait for a lock once more.
    if (!begun.empty() && !in_trouble_) transact([&] { undo_starts(begun); });
  } catch (const InboxUnavailable&) {  // they stay, as after a crash
  }
  std::vector<Settled> settled;
  for (const auto& [ticket, run] : runs_) {
    run->abandoned = true;
    settled.push_back({ticket, run->delivery, {.kind = Kind::not_started}});
  }
  for (const auto& run : taken_back_) active_.erase(run->ticket);
  stuck_ += active_.size();  // until they end
  runs_.clear();
  active_.clear();
  ended_.clear();
  taken_back_.clear();
  return settled;
}

template <class Work>
void ConcurrentHandling::transact(Work&& work) {
  try {
    inbox_.begin();
    work();
    inbox_.commit();
    in_trouble_ = false;
  } catch (const std::exception& error) {
    inbox_.rollback();
    in_trouble_ = inbox_.is_transient(error);
    if (in_trouble_) throw InboxUnavailable(error.what());
    throw DatabaseError(std::string("inbox: ") + error.what());
  }
}

}  // namespace tidings
