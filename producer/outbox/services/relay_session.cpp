#include "services/relay_session.hpp"

#include "nats/leader_advisories.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using Phase = ProcessorStatus::Phase;

namespace {

constexpr int retries_page = 1000;
constexpr std::size_t most_marks_waiting = 20000;
constexpr milliseconds first_pause{50};
constexpr milliseconds longest_pause{5000};
constexpr milliseconds look_at_deadlines{250};
constexpr milliseconds stop_takes_at_most{5000};
constexpr std::chrono::minutes between_questions{1};

}  // namespace

RelaySession::RelaySession(RelaySessionContext context, Database& reading, Database& writing, Lease& lease)
    : context_(context),
      options_(context.options),
      outbox_(reading.outbox()),
      writer_(writing, lease, context.status,
              {.renew_interval = options_.lease / 3,
               .cleanup_interval = options_.cleanup_interval,
               .retention = options_.retention,
               .clock = options_.clock},
              [&watch = context.watch] { watch.wake(); }),
      publisher_(context.connection, options_.publisher, [&watch = context.watch] { watch.wake(); }),
      scheduler_(static_cast<std::size_t>(options_.batch_size)),
      clock_(options_.clock),
      pause_(first_pause) {}

void RelaySession::run(const std::stop_token& stop) {
  load();
  while (!stop.stop_requested() && !writer_.lost()) {
    take_outcomes();
    bool progress = false;
    if (may_publish()) {
      progress = read_rows() || progress;
      progress = send() || progress;
    }
    if (drained()) return;
    if (!progress) wait();
  }
  if (!writer_.lost()) finish();
}

bool RelaySession::drained() {
  return options_.drain && scheduler_.idle() && scheduler_.blocked() == 0 && !more_rows_ &&
         writer_.waiting() == 0 && outbox_->count_pending() == 0;
}

/// What is FAILED or PROCESSING blocks its aggregate; a PROCESSING row is a retry that its
/// processor did not see the end of, and is due at once.
void RelaySession::load() {
  OutboxPosition after;
  for (;;) {
    const auto rows = outbox_->read_retries(after, retries_page);
    for (const auto& row : rows) scheduler_.block(row, retry_time(row));
    if (rows.size() < static_cast<std::size_t>(retries_page)) break;
    after = rows.back().position;
  }
  rewind();
}

Timestamp RelaySession::retry_time(const OutboxEvent& row) {
  if (row.status == RowStatus::processing) return clock_.now();
  return clock_.after(row.updated_at, options_.backoff.delay(row.retry_count, row.id));
}

/// AttemptRecord over from the oldest PENDING row. Only when all marks are written.
void RelaySession::rewind() {
  scheduler_.forget_left_behind();
  more_rows_ = outbox_->rewind();
  looked_for_strays_ = steady_clock::now();
}

void RelaySession::take_outcomes() {
  outcomes_.clear();
  if (context_.new_leader.exchange(false)) {
    publisher_.expect_answers_soon();
    pause_until_ = steady_clock::now() + leader_begins;
    pause_ = first_pause;
    stream_checked_ = false;  // it may have come by replicas
  }
  publisher_.collect(outcomes_);
  for (auto& outcome : outcomes_) take(outcome);
  const auto stored = std::count_if(marks_.begin(), marks_.end(),
                                    [](const Outcome& mark) { return mark.status == RowStatus::published; });
  context_.status.update([&](auto& status) {
    status.published += static_cast<std::uint64_t>(stored);
    status.in_flight = scheduler_.in_flight();
    status.blocked_aggregates = scheduler_.blocked();
  });
  writer_.add(marks_);
}

void RelaySession::take(PublishResult& outcome) {
  switch (outcome.kind) {
    case PublishResult::Kind::stored:
    case PublishResult::Kind::known:
      pause_ = first_pause;
      enter(Phase::active);
      if (auto event = scheduler_.stored(outcome.token, outcome.kind == PublishResult::Kind::known)) {
        mark(std::move(*event), RowStatus::published, {});
      }
      break;
    case PublishResult::Kind::refused:
      refuse(outcome);
      break;
    case PublishResult::Kind::unchained:
      scheduler_.returned(outcome.token);
      break;
    case PublishResult::Kind::trouble:
      scheduler_.returned(outcome.token);
      scheduler_.probe();
      back_off(outcome.error);
      break;
  }
}

void RelaySession::refuse(PublishResult& outcome) {
  const auto time = clock_.now();
  auto event = scheduler_.refused(outcome.token, [&](const OutboxEvent& refused) -> std::optional<Timestamp> {
    if (refused.retry_count >= options_.max_retries) return std::nullopt;
    return time + options_.backoff.delay(refused.retry_count, refused.id);
  });
  if (!event) return;
  const bool dead = event->retry_count >= options_.max_retries;
  context_.status.update([&](auto& status) {
    ++status.refused;
    if (dead) ++status.dead_lettered;
  });
  spdlog::warn("{} id={} attempt={} reason=\"{}\"", dead ? "dead letter" : "refused", event->id,
               event->retry_count, outcome.error);
  mark(std::move(*event), dead ? RowStatus::dead_letter : RowStatus::failed, std::move(outcome.error));
}

void RelaySession::mark(OutboxEvent event, RowStatus status, std::string error) {
  marks_.push_back({.position = event.position,
                    .id = std::move(event.id),
                    .status = status,
                    .retry_count = event.retry_count,
                    .error = std::move(error),
                    .at = options_.clock()});
}

void RelaySession::enter(Phase phase, const std::string& why) {
  if (context_.status.enter(phase, why)) writer_.report();
}

/// The broker's trouble uses up no attempt: wait, at most 5 s, or until it is back.
void RelaySession::back_off(const std::string& why) {
  if (steady_clock::now() < pause_until_) return;
  enter(Phase::waiting_for_broker, why);
  // Up to a quarter less, so that those who lost the same broker do not come back to it as one.
  pause_until_ = steady_clock::now() + pause_ - pause_ * (random_() % 256) / 1024;
  pause_ = std::min(pause_ * 2, longest_pause);
  stream_checked_ = false;
}

bool RelaySession::may_publish() {
  if (context_.reconnected.exchange(false)) {
    pause_until_ = {};
    pause_ = first_pause;
  }
  if (!context_.connection.connected()) {
    context_.connection.require_open();
    enter(Phase::waiting_for_broker, "not connected");
    return false;
  }
  if (steady_clock::now() < pause_until_) return false;
  if (writer_.in_trouble() || !writer_.fresh()) {
    enter(Phase::waiting_for_database);
    return false;
  }
  return stream_is_there();
}

/// Before the first event, after each trouble and with each new leader: the stream may have been deleted.
bool RelaySession::stream_is_there() {
  if (!stream_checked_ || (!replicas_known_ && steady_clock::now() >= ask_for_replicas_at_)) {
    try {
      // From nats-server 2.14 on, a chain that breaks stops a stream with replicas for good.
      const auto count = replicas();
      if (std::exchange(replicas_known_, count.has_value()) && !count)
        spdlog::warn("nobody says how many replicas the stream {} has: nothing is chained to it",
                     options_.publisher.stream);
      ask_for_replicas_at_ = steady_clock::now() + between_questions;
      scheduler_.allow_chain(count == 1);
    } catch (const NatsError& error) {
      if (!error.retryable()) throw;
      back_off(error.what());
      return false;
    }
  }
  stream_checked_ = true;
  // After a failed publish, only the next stored event tells that the trouble is over.
  if (!scheduler_.probing()) enter(Phase::active);
  return true;
}

/// Of the stream; empty when nobody says.
std::optional<int> RelaySession::replicas() {
  if (!options_.manage_stream) return replicas_of(context_.connection, options_.publisher.stream);
  return ensure_stream(context_.connection, {.name = options_.publisher.stream,
                                             .subjects = {options_.publisher.subject_prefix + ".>"},
                                             .replicas = options_.stream_replicas});
}

bool RelaySession::read_rows() {
  bool progress = false;
  while (scheduler_.room() > 0 && writer_.waiting() < most_marks_waiting) {
    const auto request = scheduler_.next_refill(clock_.now());
    if (!request) break;
    refill(*request);
    progress = true;
  }
  // In pages: a query for each place that an answer frees would cost more than the rows.
  const auto page = std::max<std::size_t>(1, static_cast<std::size_t>(options_.batch_size) / 4);
  if (more_rows_ && scheduler_.room() >= page && writer_.waiting() < most_marks_waiting) {
    const auto wanted = static_cast<int>(scheduler_.room());
    outbox_->read_pending(wanted, rows_);
    more_rows_ = static_cast<int>(rows_.size()) == wanted;
    progress = progress || !rows_.empty();
    if (!rows_.empty()) context_.watch.found();
    for (auto& row : rows_) scheduler_.offer(std::move(row));
  }
  return look_for_strays() || progress;
}

void RelaySession::refill(const PublishScheduler::Refill& request) {
  const int limit =
      request.retry ? 1 : std::min(outbox_->rows_of_aggregate_at_once(), static_cast<int>(scheduler_.room()));
  auto rows = outbox_->read_aggregate({.aggregate_id = request.aggregate_id,
                                       .aggregate_type = request.aggregate_type,
                                       .after = request.after,
                                       .with_first = request.retry},
                                      limit);
  bool complete = static_cast<int>(rows.size()) < limit;
  // Another FAILED row of the aggregate (left by another implementation) waits for its own time.
  std::optional<OutboxEvent> failed;
  const auto time = clock_.now();
  for (std::size_t i = request.retry ? 1 : 0; i < rows.size(); ++i) {
    if (rows[i].status == RowStatus::pending || retry_time(rows[i]) <= time) continue;
    failed = rows[i];
    rows.resize(i);
    complete = false;
    break;
  }
  for (const auto& row : rows)
    if (row.status == RowStatus::failed) mark(row, RowStatus::processing, {});
  writer_.add(marks_);
  scheduler_.refill(request, std::move(rows), complete);
  if (failed) scheduler_.block(*failed, retry_time(*failed));
}

/// PENDING rows that the cursor has passed: set back by an operator, or written by someone who
/// does not append. Cheap, and only when nothing is under way.
bool RelaySession::look_for_strays() {
  if (more_rows_ || !scheduler_.idle() || writer_.waiting() > 0) return false;
  if (steady_clock::now() - looked_for_strays_ < options_.processing_interval) return false;
  looked_for_strays_ = steady_clock::now();
  if (outbox_->count_pending() == scheduler_.left_behind()) return false;
  rewind();
  return true;
}

bool RelaySession::send() {
  bool sent = false;
  // One that was frozen in here is behind its successor.
  while (writer_.fresh()) {
    const auto next = scheduler_.next_send();
    if (!next) break;
    publisher_.publish(next->token, *next->event, next->after);
    sent = true;
  }
  // nats.c flushes in the background after a millisecond; with nothing more to send, do it now.
  if (sent && !more_rows_) publisher_.flush();
  return sent;
}

void RelaySession::wait() {
  auto longest = options_.processing_interval;
  const auto at_most = [&longest](milliseconds limit) { longest = std::min(longest, limit); };
  if (publisher_.in_flight() > 0) at_most(look_at_deadlines);
  if (const auto retry = scheduler_.next_retry()) at_most(*retry - clock_.now());
  if (pause_until_ > steady_clock::now()) {
    longest = std::chrono::ceil<milliseconds>(pause_until_ - steady_clock::now());
  }
  const bool written = context_.watch.wait(std::max(longest, milliseconds{1}));
  const bool notified = context_.notified.exchange(false);
  const bool poll_due = steady_clock::now() - polled_ >= options_.processing_interval;
  if (poll_due) polled_ = steady_clock::now();
  if (written || notified || poll_due) more_rows_ = true;
}

/// Stopped: what is in flight is confirmed and marked, so that the next holder need not send it again.
void RelaySession::finish() {
  const auto deadline = steady_clock::now() + stop_takes_at_most;
  publisher_.flush();
  while (publisher_.in_flight() > 0 && steady_clock::now() < deadline && context_.connection.connected()) {
    context_.watch.wait(milliseconds{20});
    take_outcomes();
  }
  take_outcomes();
}

}  // namespace tidings
