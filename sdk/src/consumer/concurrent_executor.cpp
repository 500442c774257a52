#include "consumer/concurrent_executor.hpp"

#include "consumer/inbox_guard.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using Kind = Settlement::Kind;

// Started ahead for each worker, so that none waits for the commit that starts its next event.
constexpr std::size_t started_ahead = 2;

/// Events without a key wait for none but a second copy of themselves.
std::string queue_of(const Event& event) {
  return event.partition_key.empty() ? " " + event.id : event.partition_key;
}

}  // namespace

ConcurrentExecutor::ConcurrentExecutor(Inbox& inbox, const Handlers& handlers, const ConsumerOptions& options,
                                       std::function<void()> wake)
    : inbox_(inbox),
      handlers_(handlers),
      options_(options),
      policy_(options),
      attempts_(inbox, policy_),
      hold_back_(options),
      pool_(options.workers, policy_, std::move(wake)) {}

void ConcurrentExecutor::submit(Ticket ticket, Delivery delivery) {
  Message message;
  message.ticket = ticket;
  message.key = queue_of(delivery.event);
  message.entry = handlers_.find(delivery.event.type);
  if (hold_back_.holds(delivery)) {
    message.stage = Stage::held_back;
  } else {
    hold_back_.release(delivery);
    queues_.add(message.key, ticket, delivery.stream_sequence);
  }
  message.delivery = std::move(delivery);
  messages_.emplace(ticket, std::move(message));
}

std::vector<ConcurrentExecutor::Message*> ConcurrentExecutor::in(std::initializer_list<Stage> stages) {
  std::vector<Message*> found;
  for (auto& [ticket, message] : messages_)
    if (std::ranges::find(stages, message.stage) != stages.end()) found.push_back(&message);
  return found;
}

std::size_t ConcurrentExecutor::count(Stage stage) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(messages_, [stage](const auto& entry) { return entry.second.stage == stage; }));
}

bool ConcurrentExecutor::more_to_do() {
  collect_ended();
  choose();
  return std::ranges::any_of(messages_, [](const auto& entry) {
    using enum Stage;
    const auto stage = entry.second.stage;
    return stage == held_back || stage == starting || stage == ended;
  });
}

std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::step() {
  collect_ended();
  choose();
  const auto ended = in({Stage::ended});
  const auto starting = in({Stage::starting});
  std::vector<Settlement> ends;
  std::vector<std::optional<Settlement>> starts;
  if (!ended.empty() || !starting.empty()) {
    transact([&] {
      for (const auto* message : ended) ends.push_back(commit_end(*message));
      for (auto* message : starting) starts.push_back(commit_start(*message));
    });
  }

  auto settled = give_back_held();
  for (std::size_t i = 0; i < ends.size(); ++i) settle(*ended[i], std::move(ends[i]), settled);
  for (std::size_t i = 0; i < starts.size(); ++i) {
    if (starts[i])
      settle(*starting[i], std::move(*starts[i]), settled);
    else if (starting[i]->start)
      start(*starting[i]);
    else
      starting[i]->stage = Stage::suspect;
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
  for (auto* message : in({Stage::active})) {
    const auto& run = *message->run;
    if (!run.has_started() || time - run.started_at() <= options_.handler_time_limit) continue;
    message->delivery = run.delivery;  // the worker still reads its own
    ++late_;
    end(*message, policy_.overdue(message->delivery, *message->entry));
  }
}

void ConcurrentExecutor::end(Message& message, Settlement settlement) {
  message.run.reset();
  message.settlement = std::move(settlement);
  message.stage = Stage::ended;
}

void ConcurrentExecutor::choose() {
  auto starting = count(Stage::starting);
  if (starting > 0 || all_stuck()) return;
  const auto active = in({Stage::active});
  if (const auto suspects = in({Stage::suspect}); !suspects.empty()) {
    if (!active.empty()) return;
    suspects.front()->isolated = true;
    suspects.front()->stage = Stage::starting;
    return;
  }
  if (std::ranges::any_of(active, &Message::isolated)) return;
  const auto most = static_cast<std::size_t>(options_.workers) * (1 + started_ahead);
  for (; active.size() + starting < most; ++starting) {
    const auto ticket = queues_.next();
    if (!ticket) return;
    messages_.at(*ticket).stage = Stage::starting;
  }
}

/// Inside the transaction: the inbox row of a success, the count of a failure. Whoever was started after
/// this run has written another count: then that one owns the event.
Settlement ConcurrentExecutor::commit_end(const Message& message) {
  const auto& id = message.delivery.event.id;
  auto settlement = message.settlement;
  if (inbox_.attempts(id) != message.start->running) {
    settlement.kind = inbox_.handled(id) ? Kind::duplicate : Kind::fenced;
  } else if (settlement.kind != Kind::handled) {
    attempts_.fail(message.delivery, settlement);
  } else if (inbox_.claim(id)) {
    attempts_.forget(message.delivery);
  } else {
    settlement.kind = Kind::duplicate;
  }
  return settlement;
}

/// Inside the transaction: writes the start down, or says why there is none. Neither for a suspect, whose
/// turn to run isolated comes later.
std::optional<Settlement> ConcurrentExecutor::commit_start(Message& message) {
  auto& delivery = message.delivery;
  message.start.reset();
  if (message.entry == nullptr) return policy_.unhandled(delivery);
  auto known = inbox_.attempts(delivery.event.id);
  const AttemptRecord record{known, false};
  if (auto settlement = attempts_.settled_before(delivery, *message.entry, record)) return settlement;
  if (record.suspect() && !message.isolated) return std::nullopt;
  delivery.attempt = record.next();
  message.start = {std::move(known), message.isolated ? record.run_isolated() : record.run_in_batch()};
  attempts_.begin(delivery, message.start->running);
  return std::nullopt;
}

void ConcurrentExecutor::start(Message& message) {
  message.stage = Stage::active;
  message.run = std::make_shared<Run>(message.ticket, message.entry, std::move(message.delivery));
  pool_.start(message.run);
}

void ConcurrentExecutor::settle(Message& message, Settlement settlement, std::vector<Settled>& settled) {
  hold_back_.settled(message.delivery, settlement, Clock::now());
  if (hold_back_.goes_back(settlement)) give_back_behind(message, settled);
  queues_.done(message.key);
  settled.push_back({message.ticket, std::move(message.delivery), std::move(settlement)});
  messages_.erase(settled.back().ticket);
}

/// What waits behind an event that goes back goes with it.
void ConcurrentExecutor::give_back_behind(const Message& message, std::vector<Settled>& settled) {
  const auto time = Clock::now();
  for (const auto ticket : queues_.clear(message.key)) {
    auto& waiting = messages_.at(ticket);
    if (!hold_back_.holds(waiting.delivery)) {
      queues_.add(message.key, ticket, waiting.delivery.stream_sequence);
      continue;
    }
    Settlement settlement{.kind = Kind::held_back};
    hold_back_.settled(waiting.delivery, settlement, time);
    settled.push_back({ticket, std::move(waiting.delivery), settlement});
    messages_.erase(ticket);
  }
}

/// Not before the commit: their delays begin when they are sent.
std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::give_back_held() {
  std::vector<Settled> settled;
  const auto time = Clock::now();
  for (auto* message : in({Stage::held_back})) {
    Settlement settlement{.kind = Kind::held_back};
    hold_back_.settled(message->delivery, settlement, time);
    settled.push_back({message->ticket, std::move(message->delivery), settlement});
    messages_.erase(settled.back().ticket);
  }
  return settled;
}

std::optional<ConcurrentExecutor::Clock::time_point> ConcurrentExecutor::next_overdue() const {
  std::optional<Clock::time_point> first;
  for (const auto& [ticket, message] : messages_) {
    if (message.stage != Stage::active || !message.run->has_started()) continue;
    const auto started = message.run->started_at();
    first = first ? std::min(*first, started) : started;
  }
  if (first) *first += options_.handler_time_limit + std::chrono::milliseconds{1};
  return first;
}

std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::withdraw(std::chrono::milliseconds delay) {
  take_back();
  if (const auto taken = in({Stage::taken_back}); !taken.empty()) transact([&] { undo_starts(taken); });
  (void)queues_.clear();
  auto settled = give_back_held();
  const auto time = Clock::now();
  for (auto* message : in({Stage::queued, Stage::suspect, Stage::starting, Stage::taken_back})) {
    if (message->stage != Stage::queued) queues_.done(message->key);
    Settlement settlement{.kind = Kind::not_started, .delay = delay};
    hold_back_.settled(message->delivery, settlement, time);
    settled.push_back({message->ticket, std::move(message->delivery), std::move(settlement)});
    messages_.erase(settled.back().ticket);
  }
  std::ranges::sort(settled, {}, &Settled::ticket);  // whoever gets them next gets them in their order
  return settled;
}

/// What the workers have not started.
void ConcurrentExecutor::take_back() {
  for (const auto& run : pool_.take_back()) {
    auto& message = messages_.at(run->ticket);
    message.delivery = std::move(run->delivery);
    message.run.reset();
    message.stage = Stage::taken_back;
  }
}

void ConcurrentExecutor::undo_starts(const std::vector<Message*>& messages) {
  for (const auto* message : messages)
    attempts_.undo(message->run ? message->run->delivery : message->delivery, *message->start);
}

std::vector<ConcurrentExecutor::Settled> ConcurrentExecutor::abandon_all() {
  take_back();
  // Before anyone else can start them: nothing has failed, and no process has ended while handling them.
  const auto begun = in({Stage::active, Stage::ended, Stage::taken_back});
  try {
    // Where the last commit failed, this one would only make the stop wait for a lock once more.
    if (!begun.empty() && !inbox_failed_) transact([&] { undo_starts(begun); });
  } catch (const InboxUnavailable&) {  // they stay, as after a crash
  }
  std::vector<Settled> settled;
  for (auto& [ticket, message] : messages_) {
    if (message.run) ++late_;  // until it ends
    settled.push_back({ticket,
                       message.run ? message.run->delivery : std::move(message.delivery),
                       {.kind = Kind::not_started}});
  }
  messages_.clear();
  return settled;
}

template <class Work>
void ConcurrentExecutor::transact(Work&& work) {
  inbox_failed_ = true;
  guarded(inbox_, [&] {
    inbox_.begin();
    work();
    inbox_.commit();
  });
  inbox_failed_ = false;
}

}  // namespace tidings
