#include "consumer/consumer_session.hpp"

#include <tidings/stream.hpp>
#include <tidings/timestamp.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <condition_variable>
#include <span>
#include <string_view>
#include <unordered_set>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{1000};
constexpr milliseconds long_silence{500};  // of the dead-letter stream; an error comes sooner
constexpr milliseconds longest_dead_letter_pause{30000};
constexpr milliseconds look_around{1000};  // between looks at the clock when nothing arrives
constexpr milliseconds stuck_delay{100};   // of messages that find no worker
constexpr std::size_t ahead_of_a_worker = 8;
constexpr int prune_step = 1000;
constexpr seconds prune_interval{60};
constexpr milliseconds last_flush{
    200};  // however late it is: what is not acked comes back only after AckWait

ConnectionOptions named_connection(const ConsumerOptions& options) {
  auto connection = options.connection;
  connection.name = options.group;
  return connection;
}

Prefetch prefetch(const ConsumerOptions& options) {
  const auto messages =
      options.workers > 0 ? std::min(options.prefetch, options.workers * static_cast<int>(ahead_of_a_worker))
                          : options.prefetch;
  return {messages, options.prefetch_bytes};
}

void pause(const std::stop_token& stop, milliseconds duration) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock{mutex};
  never.wait_for(lock, stop, duration, [] { return false; });
}

std::chrono::nanoseconds age(const Delivery& delivery) {
  return now() - parse_timestamp(delivery.event.time).value_or(delivery.stored_at);
}

}  // namespace

void ConsumerContext::set_status(ConsumerStatus::State state, const std::string& reason) {
  ConsumerStatus told;
  {
    const std::lock_guard lock{mutex_};
    if (status_.state == state && status_.reason == reason) return;
    status_ = {state, reason, std::chrono::system_clock::now()};
    told = status_;
  }
  if (options.on_status) options.on_status(told);
}

ConsumerStatus ConsumerContext::status() const {
  const std::lock_guard lock{mutex_};
  return status_;
}

ConsumerSession::ConsumerSession(ConsumerContext& state, const std::stop_token& stop)
    : state_(state),
      options_(state.options),
      stop_(stop),
      connection_(named_connection(options_), stop),
      dead_letters_(connection_, options_),
      handling_(state.inbox, state.handlers, options_),
      last_message_(Clock::now()) {}

void ConsumerSession::work() {
  state_.set_status(ConsumerStatus::State::joining);
  if (stop_.stop_requested() || !join()) return;
  source_.emplace(connection_, *group_, options_.subject_prefix, prefetch(options_), state_.meters.group,
                  [this](std::uint64_t sequence) { return !handling_.overdue(sequence); });
  if (options_.workers > 0)
    concurrent_.emplace(state_.inbox, state_.handlers, options_, [this] { source_->wake(); });
  last_message_ = Clock::now();
  while (!stop_.stop_requested() && !idle_for_too_long()) {
    connection_.require_open();
    show_status();
    auto batch = source_->take(room(), next_wait(), stop_);
    if (!batch.empty()) {
      state_.meters.received += batch.size();
      handle(std::move(batch));
      last_message_ = Clock::now();  // time in handlers is not idle time
    }
    if (!connection_.connected() || !source_->answered()) last_message_ = Clock::now();
    if (concurrent_) {
      step();
      leave_to_others();
    }
    if (const auto delay = source_->rejoin_after()) {
      show_status();
      if (!join_again(*delay)) break;
      source_->use(*group_);
      last_message_ = Clock::now();
    }
    prune_if_due();
  }
  state_.set_status(ConsumerStatus::State::draining);
  drain();
}

bool ConsumerSession::persist(const char* what, const std::function<void()>& work) {
  std::string told;
  for (milliseconds delay = first_pause;; delay = std::min(delay * 2, longest_pause)) {
    try {
      work();
      if (!told.empty()) {
        spdlog::info("{}: resumed", what);
        last_message_ = Clock::now();  // nobody has looked meanwhile
      }
      return true;
    } catch (const Error& error) {
      if (!error.retryable()) throw;
      const auto reason = with_refusal(error);
      state_.set_status(ConsumerStatus::State::waiting, reason);
      // One line for each trouble, not for each try.
      if (told != reason) spdlog::warn("{}: {}; trying again", what, reason);
      told = reason;
    }
    pause(stop_, delay);
    if (stop_.stop_requested()) return false;
  }
}

/// What the server refuses is answered by nothing: to us, a timeout.
std::string ConsumerSession::with_refusal(const Error& error) const {
  std::string reason = error.what();
  if (dynamic_cast<const NatsError*>(&error) == nullptr) return reason;
  const auto refusal = connection_.refusal();
  return refusal.empty() ? reason : reason + ": " + refusal;
}

/// Streams and durable, waiting for a JetStream that does not answer. False when stopped.
bool ConsumerSession::join() {
  return persist("joining the group", [this] {
    if (options_.manage_streams) {
      // Only a publisher knows its dedup window: an existing stream's is not ours to policy.
      ensure_stream(connection_, {.name = options_.stream,
                                  .subjects = {options_.subject_prefix + ".>"},
                                  .replicas = options_.replicas,
                                  .duplicate_window = seconds{0}});
      dead_letters_.ensure();
    }
    group_ = group_ ? join_group_again(connection_, options_, *group_) : join_group(connection_, options_);
    warn_of_replay_beyond(connection_, options_);
  });
}

bool ConsumerSession::join_again(milliseconds delay) {
  pause(stop_, delay);
  return !stop_.stop_requested() && join();
}

bool ConsumerSession::idle_for_too_long() const {
  return options_.exit_when_idle && submitted_.empty() &&
         Clock::now() - last_message_ >= *options_.exit_when_idle;
}

/// How many messages may be taken.
std::size_t ConsumerSession::room() const {
  if (!concurrent_) return static_cast<std::size_t>(options_.max_batch);
  const auto most = static_cast<std::size_t>(options_.workers) * ahead_of_a_worker;
  return most - std::min(most, concurrent_->size());
}

milliseconds ConsumerSession::next_wait() {
  auto wait = look_around;
  const auto until = [&wait](Clock::time_point time) {
    wait = std::clamp(std::chrono::ceil<milliseconds>(time - Clock::now()), milliseconds{1}, wait);
  };
  if (options_.exit_when_idle) until(last_message_ + *options_.exit_when_idle);
  if (!concurrent_) return wait;
  if (concurrent_->more_to_do()) return milliseconds{0};
  if (const auto overdue = concurrent_->next_overdue()) until(*overdue);
  return wait;
}

void ConsumerSession::show_status() {
  using enum ConsumerStatus::State;
  if (!connection_.connected()) {
    state_.set_status(waiting, "NATS: not connected");
  } else if (const auto refusal = connection_.refusal(); !refusal.empty()) {
    state_.set_status(waiting, "NATS: " + refusal);
  } else if (!source_->refused_pulls().empty()) {
    state_.set_status(waiting, "NATS: the group refuses pulls: " + source_->refused_pulls());
  } else if (source_->unanswered()) {
    state_.set_status(waiting, "NATS: the group does not answer");
  } else if (concurrent_ && concurrent_->all_stuck()) {
    state_.set_status(waiting, "workers: all are held by handlers that ran longer than handler_time_limit");
  } else {
    state_.set_status(running);
  }
}

void ConsumerSession::handle(std::vector<StreamMessagePtr> batch) {
  bring_in_order(batch);
  // What comes again is handled after the others, and so is what follows it in its aggregate.
  std::vector<StreamMessagePtr> again;
  std::unordered_set<std::string_view> keys_again;
  const auto follows_one = [&keys_again](const Event& event) {
    return !keys_again.empty() && keys_again.contains(event.partition_key);
  };
  for (auto& received : batch) {
    if (!received->undecodable.empty()) {
      const auto reason = received->undecodable;
      dead_letter(std::move(received), {.kind = Settlement::Kind::dead_letter, .reason = reason});
    } else if (concurrent_) {
      handle_concurrently(std::move(received));
    } else if (received->delivery.delivered > 1 || follows_one(received->delivery.event)) {
      if (const auto& key = received->delivery.event.partition_key; !key.empty()) keys_again.insert(key);
      again.push_back(std::move(received));
    } else {
      deliveries_.push_back(&received->delivery);
      first_.push_back(std::move(received));
    }
  }
  handle_together();
  for (auto& received : again) handle_alone(std::move(received));
}

/// What comes again may come behind later events of its aggregate.
void ConsumerSession::bring_in_order(std::vector<StreamMessagePtr>& batch) {
  bool any_again = false;
  for (const auto& received : batch) {
    any_again = any_again || received->delivery.delivered > 1;
    if (concurrent_)
      concurrent_->arrived(received->consumer_sequence, received->arrived);
    else
      handling_.arrived(received->consumer_sequence, received->arrived);
  }
  if (any_again)
    std::ranges::stable_sort(batch, {},
                             [](const auto& received) { return received->delivery.stream_sequence; });
}

void ConsumerSession::handle_together() {
  std::size_t done = 0;
  while (done < first_.size() && !stop_.stop_requested()) {
    std::vector<Settlement> settlements;
    if (!persist("inbox", [&] { settlements = handling_.together(std::span{deliveries_}.subspan(done)); }))
      break;
    committed(settlements.size());
    for (const auto& settlement : settlements) settle(std::move(first_[done++]), settlement);
  }
  for (; done < first_.size(); ++done) not_started_.push_back(std::move(first_[done]));
  first_.clear();
  deliveries_.clear();
}

void ConsumerSession::handle_alone(StreamMessagePtr received) {
  Settlement settlement;
  if (stop_.stop_requested() ||
      !persist("inbox", [&] { settlement = handling_.alone(received->delivery); })) {
    not_started_.push_back(std::move(received));
    return;
  }
  committed(1);
  settle(std::move(received), settlement);
}

void ConsumerSession::handle_concurrently(StreamMessagePtr received) {
  const auto ticket = next_ticket_++;
  concurrent_->submit(ticket, std::move(received->delivery));
  submitted_.emplace(ticket, std::move(received));
}

void ConsumerSession::step() {
  if (!concurrent_->more_to_do()) return;
  std::vector<ConcurrentHandling::Settled> settlements;
  if (!persist("inbox", [&] { settlements = concurrent_->step(); })) return;
  last_message_ = Clock::now();
  committed(settlements.size());
  settle(std::move(settlements));
}

/// Kept here, messages would wait as long as the handlers that hold all workers, which may be for ever.
void ConsumerSession::leave_to_others() {
  const bool stuck = concurrent_->all_stuck();
  if (stuck || source_->paused()) last_message_ = Clock::now();  // there may be more that was not asked for
  source_->pause(stuck);
  if (!stuck || concurrent_->size() == 0) return;
  std::vector<ConcurrentHandling::Settled> settlements;
  if (persist("inbox", [&] { settlements = concurrent_->withdraw(stuck_delay); }))
    settle(std::move(settlements));
}

void ConsumerSession::settle(std::vector<ConcurrentHandling::Settled> settlements) {
  for (auto& [ticket, delivery, settlement] : settlements) {
    auto received = std::move(submitted_.extract(ticket).mapped());
    received->delivery = std::move(delivery);
    settle(std::move(received), settlement);
  }
}

void ConsumerSession::committed(std::size_t messages) {
  ++state_.meters.commits;
  if (messages > 0) state_.meters.last_commit_size = messages;  // else one of starts alone
}

/// After the inbox's commit: a crash in between costs a duplicate, never a loss.
void ConsumerSession::settle(StreamMessagePtr received, const Settlement& settlement) {
  auto& meters = state_.meters;
  const auto& delivery = received->delivery;
  if (settlement.took.count() > 0) meters.handling.add(settlement.took, Clock::now());
  switch (settlement.kind) {
    case Settlement::Kind::handled:
      ++meters.handled;
      meters.age.add(age(delivery), Clock::now());
      return source_->ack(std::move(received));
    case Settlement::Kind::duplicate:
      ++meters.duplicates;
      return source_->ack(std::move(received));
    case Settlement::Kind::ignored:
      ++meters.ignored;
      return source_->ack(std::move(received));
    case Settlement::Kind::retry:
      ++meters.retried;
      spdlog::warn("retry id={} type={} attempt={} delay_ms={} reason=\"{}\"", delivery.event.id,
                   delivery.event.type, settlement.attempts, settlement.delay.count(), settlement.reason);
      tell_failure(delivery, settlement);
      return source_->nak(std::move(received), settlement.delay);
    case Settlement::Kind::held_back:
      ++meters.held_back;
      return source_->nak(std::move(received), settlement.delay);
    case Settlement::Kind::fenced:
      // Not ours any more: whoever has it now settles it.
      ++meters.fenced;
      spdlog::warn("fenced id={} type={} attempt={}: its handler ended too late", delivery.event.id,
                   delivery.event.type, settlement.attempts);
      return;
    case Settlement::Kind::not_started:
      return source_->nak(std::move(received), settlement.delay);
    case Settlement::Kind::dead_letter:
      return dead_letter(std::move(received), settlement);
  }
}

/// Copy confirmed first, original ended after it. Without a confirmed copy the message stays.
void ConsumerSession::dead_letter(StreamMessagePtr received, const Settlement& settlement) {
  if (stop_.stop_requested()) return defer_dead_letter(std::move(received));
  const auto& delivery = received->delivery;
  const auto begun = Clock::now();
  const auto stays = [&] {
    const auto delay = options_.backoff.delay(static_cast<int>(delivery.delivered), delivery.subject);
    const auto pause_left = std::chrono::ceil<milliseconds>(dead_letter_again_ - Clock::now());
    source_->nak(std::move(received), std::max(delay, pause_left));
  };
  if (begun < dead_letter_again_) return stays();
  try {
    dead_letters_.publish({.delivery = delivery,
                           .payload = received->payload(),
                           .reason = settlement.reason,
                           .attempts = settlement.attempts});
  } catch (const NatsError& error) {
    spdlog::error("dead letter not stored, the message stays: id={} {}", delivery.event.id,
                  with_refusal(error));
    if (Clock::now() - begun >= long_silence) {
      // Nothing else was handled meanwhile: others are to have their turn before the next try.
      dead_letter_again_ = Clock::now() + dead_letter_pause_;
      dead_letter_pause_ = std::min(dead_letter_pause_ * 2, longest_dead_letter_pause);
    }
    return stays();
  }
  dead_letter_pause_ = first_dead_letter_pause;
  spdlog::error("dead letter id={} type={} sequence={} attempts={} reason=\"{}\"", delivery.event.id,
                delivery.event.type, delivery.stream_sequence, settlement.attempts, settlement.reason);
  ++state_.meters.dead_lettered;
  tell_failure(delivery, settlement);
  const auto id = delivery.event.id;
  source_->terminate(std::move(received));
  if (!id.empty()) (void)persist("inbox", [&] { handling_.forget(id); });
}

/// Its attempts are on disk: whoever gets it next starts no handler.
void ConsumerSession::defer_dead_letter(StreamMessagePtr received) {
  if (source_->stopped()) return source_->nak(std::move(received));
  not_started_.push_back(std::move(received));  // now, it would be handed to us again
}

void ConsumerSession::tell_failure(const Delivery& delivery, const Settlement& settlement) {
  if (options_.on_failure)
    options_.on_failure({.delivery = delivery,
                         .reason = settlement.reason,
                         .dead_letter = settlement.kind == Settlement::Kind::dead_letter,
                         .attempts = settlement.attempts,
                         .delay = settlement.delay});
}

void ConsumerSession::prune_if_due() {
  // At a stop it would be one more thing that may wait for a lock.
  if (stop_.stop_requested() || Clock::now() < prune_again_) return;
  (void)persist("inbox", [this] {
    const bool round_done = handling_.prune(options_.inbox_retention, prune_step);
    prune_again_ = Clock::now() + (round_done ? prune_interval : seconds{0});
  });
}

void ConsumerSession::drain() {
  const auto deadline = Clock::now() + options_.drain_timeout;
  if (concurrent_) {
    try {
      for (auto& settlement : concurrent_->withdraw())
        not_started_.push_back(std::move(submitted_.extract(settlement.ticket).mapped()));
    } catch (const InboxUnavailable& trouble) {
      spdlog::warn("{}: messages that no worker has started are given back late", trouble.what());
    }
  }
  source_->stop(deadline, std::move(not_started_));
  if (concurrent_) drain_workers(deadline);
  connection_.flush(std::max(std::chrono::ceil<milliseconds>(deadline - Clock::now()), last_flush));
}

/// Handlers that run are waited for; what they have done by then counts.
void ConsumerSession::drain_workers(Clock::time_point deadline) {
  while (concurrent_->size() > 0 && Clock::now() < deadline) {
    try {
      settle(concurrent_->withdraw());  // nothing, but where the inbox was in trouble before
      settle(concurrent_->step());
      if (concurrent_->more_to_do()) continue;
    } catch (const InboxUnavailable&) {  // until the deadline
    }
    (void)source_->take(0, milliseconds{50}, {});
  }
  if (concurrent_->size() > 0)
    spdlog::warn(
        "{} handlers still run at the end of drain_timeout: their messages go back, and what they do "
        "from now on is done again",
        concurrent_->size());
  settle(concurrent_->abandon_all());
}

}  // namespace tidings
