#include "consumer/consumer_session.hpp"

#include "consumer/inbox_guard.hpp"
#include "retry_loop.hpp"

#include <tidings/stream.hpp>
#include <tidings/timestamp.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <unordered_set>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds longest_wait{1000};  // for a message, before the status is looked at again
// Acks are flushed for this long even past the deadline: without them, messages that were handled come again.
constexpr milliseconds last_flush{200};

}  // namespace

ConsumerSession::ConsumerSession(ConsumerContext& context, const std::stop_token& stop)
    : context_(context),
      options_(context.options),
      stop_(stop),
      connection_(context.shared_connection != nullptr ? *context.shared_connection
                                                       : own_connection_.emplace(options_.connection, stop)),
      outage_(connection_, context, stop),
      dead_letters_(connection_, options_),
      key_order_(options_),
      executor_(context.inbox, context.handlers, options_, key_order_),
      upkeep_(context, outage_, stop) {}

ConsumerSession::End ConsumerSession::work() {
  context_.status.set(ConsumerStatus::State::joining);
  if (stop_.stop_requested() || !become_owner()) return End::stopped;
  auto end = End::taken_over;
  try {
    end = work_until_end();
  } catch (const TenureLost& lost) {
    spdlog::warn("group={}: {}", options_.group, lost.what());
  }
  // Messages go back only under the lease; acks of what is committed are always right.
  if (end == End::taken_over) connection_.flush(last_flush);
  if (ownership_) ownership_->release();
  return end;
}

bool ConsumerSession::become_owner() {
  if (options_.order != ConsumerOptions::Order::strict) return true;
  return ownership_.emplace(context_, connection_, executor_).acquire(stop_);
}

bool ConsumerSession::may_stay_owner() {
  return !ownership_ || ownership_->may_stay(connection_.connected() && !puller_->unanswered(), stuck());
}

/// An owner past its lease leaves its messages to whoever takes over.
bool ConsumerSession::may_start() const {
  return !stop_.stop_requested() && (!ownership_ || ownership_->holds());
}

ConsumerSession::End ConsumerSession::work_until_end() {
  context_.status.set(ConsumerStatus::State::joining);
  if (!join()) return End::stopped;
  start();
  idle_since_ = Clock::now();
  while (!stop_.stop_requested() && !idle_for_too_long()) {
    context_.pulse.step();
    if (turn()) idle_since_ = Clock::now();
    idle_since_ += upkeep_.prune_if_due();  // waiting for the inbox is not idling
    if (stream_) idle_since_ += upkeep_.keep_position_if_due(stream_->created, puller_->settled_to());
    outage_.end_if_lost();
    if (!may_stay_owner()) return End::taken_over;
  }
  context_.pulse.rest();  // a stop has its own end
  context_.status.set(ConsumerStatus::State::draining);
  drain();
  return stop_.stop_requested() ? End::stopped : End::idle;
}

/// Makes or checks streams and durable, waiting for a JetStream that does not answer. False when stopped.
bool ConsumerSession::join() {
  context_.pulse.rest();  // requests have their timeouts
  return outage_.until_done("joining the group", [this] {
    connection_.require_open();
    if (options_.manage_streams) {
      // Only a publisher knows its dedup window: that of an existing stream is not ours to judge.
      ensure_stream(connection_, {.name = options_.stream,
                                  .subjects = {options_.subject_prefix + ".>"},
                                  .replicas = options_.replicas,
                                  .duplicate_window = seconds{0},
                                  .use = StreamSpec::Use::read});
      dead_letters_.ensure();
    }
    stream_ = EventStream::look_up(connection_, options_.stream);
    if (stream_) require_events(*stream_, options_);
    const bool first_time = !group_;
    group_ = join_group(connection_, options_, TypeFilter::of(context_.handlers, options_, stream_), group_,
                        [this] { return first_sequence(); });
    if (first_time) warn_of_stream();
  });
}

/// Where a group begins that has to be made, 0 for where the options say. A login without the right to look
/// up the stream cannot tell where the group stood.
std::uint64_t ConsumerSession::first_sequence() {
  if (!stream_) return 0;
  return guarded(context_.inbox, [this] {
    return first_unsettled(*stream_, options_, context_.inbox.position(options_.stream),
                           context_.inbox.has_handled_events(), now());
  });
}

void ConsumerSession::warn_of_stream() {
  warn_of_discards(connection_, options_.stream);
  if (!context_.inbox.keeps_positions())
    spdlog::warn(
        "the inbox's login has no SELECT, INSERT and UPDATE on inbox_position: nobody knows where the group {} "
        "stood if it is lost",
        options_.group);
  if (!stream_) return;
  warn_of_transform(*stream_, options_);
  warn_of_replay_beyond(*stream_, options_, now());
}

void ConsumerSession::start() {
  Prefetch prefetch{options_.prefetch, options_.prefetch_bytes};
  if (options_.workers > 0) prefetch = ConcurrentMode::share(prefetch, options_.workers);
  if (ownership_) prefetch = {.messages = options_.prefetch, .bytes = options_.prefetch_bytes, .whole = true};
  puller_.emplace(connection_, *group_, options_.subject_prefix, prefetch, context_.meters.group,
                  [this] { return !executor_.overdue() && (!ownership_ || ownership_->holds()); });
  if (ownership_) {
    puller_->never_lapse();
    strict_.emplace(context_, *puller_, key_order_, outage_);
  }
  settler_.emplace(context_, *puller_, dead_letters_, outage_, stop_);
  if (strict_) settler_->use(*strict_);
  watchdog_.emplace(executor_, context_, stop_);
  transactional_.emplace(executor_, key_order_, *puller_, *settler_, outage_, stop_,
                         [this] { return may_start(); });
  if (options_.workers > 0) concurrent_.emplace(context_, key_order_, *puller_, *settler_, outage_, stop_);
}

/// Takes and handles what has come. False when there was nothing to take, as far as can be seen.
bool ConsumerSession::turn() {
  connection_.require_open();
  show_status();
  const auto now = Clock::now();
  puller_->pause(breakers().consumer_within_pause(now) || stuck());
  auto room = concurrent_ ? concurrent_->room() : static_cast<std::size_t>(options_.max_batch);
  if (strict_ && stuck()) room = 0;  // another instance's, soon
  context_.pulse.rest();
  auto messages = strict_ ? strict_->take(room, next_wait(), stop_) : puller_->take(room, next_wait(), stop_);
  context_.pulse.step();
  for (auto& message : puller_->take_excess()) transactional_->nak_excess(std::move(message));
  bool busy =
      !messages.empty() || !connection_.connected() || !puller_->answered() || breakers().within_pause(now);
  busy = busy || (strict_ && strict_->busy());
  if (!messages.empty()) handle(std::move(messages));
  if (concurrent_) {
    busy = concurrent_->step() || busy;
    busy = concurrent_->leave_to_others() || busy;
    concurrent_->show_handlers();
    concurrent_->end_process_if_stuck(connection_);
  }
  if (const auto delay = puller_->rejoin_after()) {
    show_status();
    pause(stop_, *delay);
    if (stop_.stop_requested() || !join()) return true;
    if (strict_) strict_->begin_anew();
    puller_->use(*group_);
    busy = true;
  }
  return busy;
}

std::optional<ConsumerSession::Clock::time_point> ConsumerSession::idle_deadline() const {
  return options_.exit_when_idle ? std::optional{idle_since_ + *options_.exit_when_idle} : std::nullopt;
}

bool ConsumerSession::idle_for_too_long() const {
  const auto deadline = idle_deadline();
  return deadline && Clock::now() >= *deadline && (!concurrent_ || concurrent_->empty());
}

milliseconds ConsumerSession::next_wait() {
  auto wait = longest_wait;
  const auto until = [&wait](std::optional<Clock::time_point> time, milliseconds least) {
    if (time) wait = std::clamp(std::chrono::ceil<milliseconds>(*time - Clock::now()), least, wait);
  };
  until(idle_deadline(), milliseconds{1});
  if (concurrent_) until(concurrent_->next_step(), milliseconds{0});
  return wait;
}

CircuitBreakers& ConsumerSession::breakers() noexcept {
  return concurrent_ ? concurrent_->breakers() : executor_.breakers();
}

void ConsumerSession::show_status() {
  using enum ConsumerStatus::State;
  breakers().forget_old(Clock::now());
  auto handlers_wait_for = breakers().reason();
  if (handlers_wait_for != handlers_wait_for_) {
    if (handlers_wait_for.empty())
      spdlog::info("available again: {}", handlers_wait_for_);
    else
      spdlog::warn("paused: {}", handlers_wait_for);
    handlers_wait_for_ = std::move(handlers_wait_for);
  }
  if (const auto reason = waiting_for(); !reason.empty())
    context_.status.set(waiting, reason);
  else
    context_.status.set(handlers_wait_for_.empty() || !breakers().all_open() ? running : waiting,
                        handlers_wait_for_);
}

/// What keeps events from being handled; empty when nothing does.
std::string ConsumerSession::waiting_for() const {
  if (!connection_.connected()) return "NATS: not connected";
  if (const auto refusal = refusal_of_group(connection_, options_.group); !refusal.empty())
    return "NATS: " + refusal;
  if (const auto refusal = puller_->refused_pulls(); !refusal.empty())
    return "NATS: the group refuses pulls: " + refusal;
  if (puller_->unanswered()) return "NATS: the group does not answer";
  if (auto reason = strict_ ? strict_->waiting_for() : std::string{}; !reason.empty()) return reason;
  if (stuck()) return ConcurrentMode::all_stuck_reason;
  return {};
}

void ConsumerSession::handle(std::vector<StreamMessagePtr> messages) {
  std::erase_if(messages, [](const auto& message) { return message->lapsed(); });
  context_.meters.received += messages.size();
  key_order_.use(puller_->ack_wait());
  for (const auto& message : messages) key_order_.arrived(message->after_gap && !strict_, message->arrived);
  std::vector<StreamMessagePtr> events;
  for (auto& message : messages) {
    if (!message->for_group.empty() && message->for_group != options_.group) {
      settler_->settle(std::move(message), {.kind = Settlement::Kind::ignored});
    } else if (!message->undecodable.empty()) {
      const Settlement settlement{.kind = Settlement::Kind::dead_letter, .reason = message->undecodable};
      settler_->settle(std::move(message), settlement);
    } else if (concurrent_) {
      concurrent_->submit(std::move(message));
    } else {
      events.push_back(std::move(message));
    }
  }
  if (!events.empty()) transactional_->handle(std::move(events));
}

void ConsumerSession::drain() {
  const auto deadline = Clock::now() + options_.drain_timeout;
  if (concurrent_) concurrent_->withdraw();
  auto not_started = settler_->take_kept();
  if (strict_) std::ranges::move(strict_->take_all(), std::back_inserter(not_started));
  puller_->stop(deadline, std::move(not_started));
  if (concurrent_) concurrent_->drain(deadline);
  connection_.flush(std::max(std::chrono::ceil<milliseconds>(deadline - Clock::now()), last_flush));
  context_.handler.rest();
  if (concurrent_) concurrent_->tell_of_late_handlers();
}

}  // namespace tidings
