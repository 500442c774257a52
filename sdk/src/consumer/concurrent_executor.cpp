#include "consumer/concurrent_executor.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using Kind = Settlement::Kind;

// Started ahead for each worker, so that none waits for the commit that starts its next event.
constexpr std::size_t started_ahead = 2;

/// Events without a key wait only for a second copy of themselves.
std::string queue_of(const Event& event) {
  return event.partition_key.empty() ? " " + EventKey{identity_of(event)}.unique() : order_key(event);
}

}  // namespace

ConcurrentExecutor::ConcurrentExecutor(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options,
                                       KeyOrder& key_order, std::function<void()> wake)
    : inbox_(inbox),
      handlers_(handlers),
      options_(options),
      policy_(options),
      poison_(inbox, policy_),
      key_order_(key_order),
      pool_(options.workers, policy_, std::move(wake)) {}

void ConcurrentExecutor::submit(Ticket ticket, Delivery delivery) {
  auto& message = messages_[ticket];
  message.ticket = ticket;
  message.key = queue_of(delivery.event);
  message.entry = handlers_.find(delivery.event.type);
  if (key_order_.holds(delivery)) {
    message.stage = Stage::held_back;
  } else {
    key_order_.release(delivery);
    queues_.add(message.key, ticket, delivery.stream_sequence);
  }
  message.delivery = std::move(delivery);
  in(message.stage).emplace(ticket, &message);
}

std::vector<ConcurrentExecutor::Message*> ConcurrentExecutor::list(
    std::initializer_list<Stage> stages) const {
  std::vector<Message*> messages;
  for (const auto stage : stages)
    for (const auto& [ticket, message] : in(stage)) messages.push_back(message);
  return messages;
}

void ConcurrentExecutor::move_to(Stage stage, Message& message) {
  in(stage).insert(in(message.stage).extract(message.ticket));
  message.stage = stage;
}

bool ConcurrentExecutor::more_to_do() {
  using enum Stage;
  collect_ended();
  choose();
  return !in(held_back).empty() || !in(starting).empty() || !in(ended).empty();
}

std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::step() {
  collect_ended();
  choose();
  const auto ended = list({Stage::ended});
  const auto starting = list({Stage::starting});
  std::vector<Settlement> ends;
  std::vector<PoisonDetector::Decision> starts;
  if (!ended.empty() || !starting.empty()) {
    commit([&] {
      for (const auto* message : ended) ends.push_back(commit_end(*message));
      for (auto* message : starting) starts.push_back(commit_start(*message));
    });
  }

  auto settled = give_back_held();
  for (std::size_t i = 0; i < ends.size(); ++i) settle(*ended[i], std::move(ends[i]), settled);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    auto& [settlement, start] = starts[i];
    if (settlement)
      settle(*starting[i], std::move(*settlement), settled);
    else if (start)
      run(*starting[i], std::move(*start));
    else
      move_to(Stage::suspect, *starting[i]);
  }
  return settled;
}

/// Handlers that have returned, and those that have run too long.
void ConcurrentExecutor::collect_ended() {
  for (const auto& run : pool_.take_ended()) {
    const auto found = messages_.find(run->ticket);
    if (found == messages_.end() || found->second.run != run) {
      --late_;
      continue;
    }
    found->second.delivery = std::move(run->delivery);
    end(found->second, std::move(run->settlement));
  }
  const auto time = Clock::now();
  for (auto* message : list({Stage::active})) {
    const auto started = message->run->started.load();  // in the far future until it has
    if (time - options_.handler_time_limit <= started) continue;
    message->delivery = message->run->delivery;  // the worker still reads its own
    ++late_;
    end(*message, policy_.overdue(message->delivery, *message->entry));
  }
}

void ConcurrentExecutor::end(Message& message, Settlement settlement) {
  message.run.reset();
  message.settlement = std::move(settlement);
  breakers_.settled(message.delivery, message.settlement, Clock::now());  // before the next are started
  move_to(Stage::ended, message);
}

void ConcurrentExecutor::choose() {
  const auto& starting = in(Stage::starting);
  const auto& active = in(Stage::active);
  const auto& suspects = in(Stage::suspect);
  if (!starting.empty() || all_stuck()) return;
  if (!suspects.empty()) {
    if (!active.empty()) return;
    auto& first = *suspects.begin()->second;
    first.isolated = true;
    return move_to(Stage::starting, first);
  }
  if (std::ranges::any_of(active, [](const auto& entry) { return entry.second->isolated; })) return;
  const auto most = static_cast<std::size_t>(options_.workers) * (1 + started_ahead);
  while (active.size() + starting.size() < most) {
    const auto ticket = queues_.next();
    if (!ticket) return;
    move_to(Stage::starting, messages_.at(*ticket));
  }
}

/// Inside the transaction: writes the inbox row of a success, or the attempt of a failure. When the inbox no
/// longer has what this run's start has written, the event was started again since: then that start owns it.
Settlement ConcurrentExecutor::commit_end(const Message& message) {
  const auto event = identity_of(message.delivery.event);
  auto settlement = message.settlement;
  if (!poison_.is_latest(message.delivery, message.start)) {
    settlement.kind = inbox_.handled(event) ? Kind::duplicate : Kind::fenced;
  } else if (settlement.kind == Kind::unavailable) {
    poison_.undo(message.delivery, message.start);
  } else if (settlement.kind != Kind::handled) {
    poison_.fail(message.delivery, settlement);
  } else if (inbox_.claim(event)) {
    inbox_.forget_attempts(AttemptsKey{message.delivery}.identity());
  } else {
    settlement.kind = Kind::duplicate;
  }
  return settlement;
}

PoisonDetector::Decision ConcurrentExecutor::commit_start(Message& message) {
  if (message.entry == nullptr) return {.settled = policy_.unhandled(message.delivery), .start = {}};
  if (auto paused = breakers_.pause(message.delivery, *message.entry))
    return {.settled = std::move(paused), .start = {}};
  return poison_.start(message.delivery, *message.entry, {.isolated = message.isolated});
}

void ConcurrentExecutor::run(Message& message, PoisonDetector::Start start) {
  message.start = std::move(start);
  message.run = std::make_shared<Run>(message.ticket, message.entry, std::move(message.delivery));
  move_to(Stage::active, message);
  pool_.start(message.run);
}

void ConcurrentExecutor::settle(Message& message, Settlement settlement, std::vector<Settled>& settled) {
  const auto key = std::move(message.key);
  const bool with_later_ones = key_order_.goes_back(settlement);
  leave(message, std::move(settlement), Clock::now(), settled);
  if (with_later_ones) give_back_behind(key, settled);
  queues_.done(key);
}

/// What waits behind an event that goes back goes with it.
void ConcurrentExecutor::give_back_behind(const std::string& key, std::vector<Settled>& settled) {
  const auto time = Clock::now();
  for (const auto ticket : queues_.clear(key)) {
    auto& waiting = messages_.at(ticket);
    if (key_order_.holds(waiting.delivery))
      leave(waiting, {.kind = Kind::held_back}, time, settled);
    else
      queues_.add(key, ticket, waiting.delivery.stream_sequence);
  }
}

/// Not before the commit: their delays begin when they are sent.
std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::give_back_held() {
  std::vector<Settled> settled;
  const auto time = Clock::now();
  for (auto* message : list({Stage::held_back})) leave(*message, {.kind = Kind::held_back}, time, settled);
  return settled;
}

void ConcurrentExecutor::leave(Message& message, Settlement settlement, Clock::time_point time,
                               std::vector<Settled>& settled) {
  key_order_.settled(message.delivery, settlement, time);
  breakers_.settled(message.delivery, settlement, time);
  settled.push_back({message.ticket, std::move(message.delivery), std::move(settlement)});
  in(message.stage).erase(message.ticket);
  messages_.erase(settled.back().ticket);
}

std::size_t ConcurrentExecutor::stuck() {
  collect_ended();
  return late_;
}

std::optional<ConcurrentExecutor::Clock::time_point> ConcurrentExecutor::oldest_start() const {
  auto first = Run::not_started;
  for (const auto& [ticket, message] : in(Stage::active))
    first = std::min(first, message->run->started.load());
  return first == Run::not_started ? std::nullopt : std::optional{first};
}

std::optional<ConcurrentExecutor::Clock::time_point> ConcurrentExecutor::next_overdue() const {
  const auto first = oldest_start();
  if (!first) return std::nullopt;
  return *first + options_.handler_time_limit + std::chrono::milliseconds{1};
}

std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::withdraw(std::chrono::milliseconds delay) {
  using enum Stage;
  take_back();
  if (const auto taken = list({taken_back}); !taken.empty()) commit([&] { undo_starts(taken); });
  (void)queues_.clear();
  auto settled = give_back_held();
  const auto time = Clock::now();
  for (auto* message : list({queued, suspect, starting, taken_back})) {
    if (message->stage != queued) queues_.done(message->key);
    leave(*message, {.kind = Kind::not_started, .delay = delay}, time, settled);
  }
  std::ranges::sort(settled, {}, &Settled::ticket);  // their next receiver gets them in their order
  return settled;
}

/// What the workers have not started.
void ConcurrentExecutor::take_back() {
  for (const auto& run : pool_.take_back()) {
    auto& message = messages_.at(run->ticket);
    message.delivery = std::move(run->delivery);
    message.run.reset();
    move_to(Stage::taken_back, message);
  }
}

void ConcurrentExecutor::undo_starts(const std::vector<Message*>& messages) {
  for (const auto* message : messages)
    poison_.undo(message->run ? message->run->delivery : message->delivery, message->start);
}

std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::abandon_all() {
  take_back();
  // Undo the starts before anyone else sees them: nothing has failed, and no process has ended in a handler.
  const auto begun = list({Stage::active, Stage::ended, Stage::taken_back});
  try {
    // Where the last commit failed, this one would only make the stop wait for a lock once more.
    if (!begun.empty() && !inbox_failed_) commit([&] { undo_starts(begun); });
  } catch (const InboxUnavailable&) {  // they stay, as after a crash
  }
  std::vector<Settled> settled;
  for (auto& [ticket, message] : messages_) {
    if (message.run) ++late_;  // until it ends
    settled.push_back({ticket,
                       message.run ? message.run->delivery : std::move(message.delivery),
                       {.kind = Kind::not_started}});
  }
  for (auto& messages : by_stage_) messages.clear();
  messages_.clear();
  return settled;
}

template <class Work>
void ConcurrentExecutor::commit(Work&& work) {
  inbox_failed_ = true;
  transact(inbox_, std::forward<Work>(work));
  inbox_failed_ = false;
}

}  // namespace tidings
