#include "services/relay_session.hpp"

#include <tidings/stream.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace tidings {

using std::chrono::milliseconds;
using Phase = ProcessorStatus::Phase;

RelaySession::RelaySession(RelayContext& context, Database& reading, Database& writing, Lease& lease)
    : context_(context),
      options_(context.options),
      writer_(writing, lease, context.status, options_, [&watch = *context.watch] { watch.wake(); }),
      publisher_(
          context.connection, options_.publisher, [&watch = *context.watch] { watch.wake(); },
          [this](const OutboxEvent& event) -> const OutboxEvent& {
            const PulseHandover to_database{context_.status.sending, context_.status.reading};
            const auto& whole = reader_.whole(event, context_.connection.max_payload());
            large_bytes_ += whole.event_data.size();
            return whole;
          }),
      scheduler_(static_cast<std::size_t>(options_.batch_size), options_.publisher.partitions),
      retries_(options_),
      outbox_(reading.outbox()),
      retry_rows_(*outbox_, options_, scheduler_, retries_, writer_),
      reader_(*outbox_, options_, scheduler_, retries_, writer_, *context.watch) {}

bool RelaySession::run(const std::stop_token& stop) {
  retry_rows_.load();
  reader_.rewind();
  try {
    while (!stop.stop_requested() && !writer_.lost()) {
      context_.status.reading.step();
      take_results();
      look_at_backlog_if_due();
      bool progress = false;
      std::optional<Timestamp> read_at;
      if (may_publish()) {
        read_at = retries_.now();
        retry_rows_.look_if_due();
        progress = reader_.read();
        progress = send() || progress;
      }
      if (drained()) return true;
      if (!progress) wait(read_at);
    }
  } catch (const DatabaseError&) {
    // The next session sends again what this one leaves without an outcome.
    if (!writer_.lost()) finish();
    throw;
  }
  if (!writer_.lost()) finish();
  return false;
}

/// One look-up in an index; how many are pending would take a walk.
void RelaySession::look_at_backlog_if_due() {
  constexpr milliseconds interval{1000};
  if (Clock::now() < look_at_backlog_at_) return;
  const auto oldest = outbox_->oldest_pending();
  context_.status.update_figures([&](auto& figures) { figures.oldest_pending = oldest; });
  look_at_backlog_at_ = Clock::now() + interval;
}

bool RelaySession::drained() {
  return options_.drain && scheduler_.idle() && scheduler_.blocked() == 0 && writer_.waiting() == 0 &&
         reader_.is_empty();
}

void RelaySession::take_results() {
  results_.clear();
  if (context_.new_leader.exchange(false)) {
    publisher_.expect_answers_soon();
    backoff_.on_new_leader(Clock::now());
  }
  publisher_.collect(results_);
  for (auto& result : results_) take(result);
  const auto stored = std::count_if(outcomes_.begin(), outcomes_.end(), [](const Outcome& outcome) {
    return outcome.status == RowStatus::published;
  });
  context_.status.update([&](auto& status) {
    status.published += static_cast<std::uint64_t>(stored);
    status.in_flight = scheduler_.in_flight();
    status.blocked_aggregates = scheduler_.blocked();
  });
  context_.status.add_counts(counted_);
  writer_.add(outcomes_);
}

void RelaySession::take(PublishResult& result) {
  switch (result.kind) {
    case PublishResult::Kind::stored:
      backoff_.on_stored();
      if (!writer_.failing()) enter(Phase::active);
      if (auto event = scheduler_.stored(result.token)) {
        ++counted_.of(event->event_type).published;
        record(std::move(*event), RowStatus::published, {}, options_.clock());
      }
      break;
    case PublishResult::Kind::refused:
      refuse(result);
      break;
    case PublishResult::Kind::unbatched:
      scheduler_.returned(result.token);
      backoff_.on_doubt_of_stream(Clock::now());  // it may not allow batches any more
      break;
    case PublishResult::Kind::transient:
      if (may_be_its_subject(result)) return suspect(result);
      scheduler_.returned(result.token);
      scheduler_.probe();
      wait_for_broker(result.error);
      break;
  }
}

/// A batch that is not stored says nothing of one subject: its events go by themselves first.
bool RelaySession::may_be_its_subject(const PublishResult& result) {
  const auto* const entry = scheduler_.sent(result.token);
  if (entry == nullptr || entry->in_batch) return false;
  // A missing right is told in the server's words.
  const auto subject = '"' + options_.publisher.subject_of(entry->event) + '"';
  return result.maybe_subject || result.error.find(subject) != std::string::npos;
}

/// A refusal, when another subject was stored just before; otherwise others must show whose fault it is.
void RelaySession::suspect(PublishResult& result) {
  if (scheduler_.sent(result.token)->on_trial) return refuse(result);
  scheduler_.suspected(result.token);
  backoff_.on_doubt_of_stream(Clock::now());
  if (scheduler_.has_unsuspected()) return;
  enter(Phase::waiting_for_broker, result.error);
  backoff_.on_suspects_only(Clock::now());
}

void RelaySession::refuse(PublishResult& result) {
  const auto at = options_.clock();
  const auto retry_at = [&](const OutboxEvent& refused) -> std::optional<Timestamp> {
    if (retries_.is_dead_letter(refused)) return std::nullopt;
    return retries_.due(refused, at);
  };
  auto event = scheduler_.refused(result.token, at, retry_at);
  if (!event) return;
  const bool dead = retries_.is_dead_letter(*event);
  context_.status.update([&](auto& status) {
    ++status.refused;
    if (dead) ++status.dead_lettered;
  });
  auto& counts = counted_.of(event->event_type);
  ++counts.refused;
  if (dead) ++counts.dead_lettered;
  spdlog::warn("{} id={} attempt={} reason=\"{}\"", dead ? "dead letter" : "refused", event->id,
               event->retry_count, result.error);
  record(std::move(*event), dead ? RowStatus::dead_letter : RowStatus::failed, std::move(result.error), at);
}

void RelaySession::record(OutboxEvent event, RowStatus status, std::string error, Timestamp at) {
  outcomes_.push_back({.position = event.position,
                       .id = std::move(event.id),
                       .status = status,
                       .retry_count = event.retry_count,
                       .error = std::move(error),
                       .at = at});
}

void RelaySession::enter(Phase phase, const std::string& why) {
  if (context_.status.enter(phase, why)) writer_.report();
}

/// A transient error uses up no attempt: wait until the pause is over or the broker is back.
void RelaySession::wait_for_broker(const std::string& why) {
  if (backoff_.on_transient_error(Clock::now())) enter(Phase::waiting_for_broker, why);
}

bool RelaySession::may_publish() {
  if (context_.reconnected.exchange(false)) backoff_.on_reconnected(Clock::now());
  if (!context_.connection.connected()) {
    context_.connection.require_open();
    enter(Phase::waiting_for_broker, "not connected");
    return false;
  }
  if (backoff_.is_paused(Clock::now())) return false;
  if (writer_.failing() || !writer_.fresh()) {
    enter(Phase::waiting_for_database, writer_.reason());
    return false;
  }
  try {
    if (backoff_.is_stream_check_due(Clock::now())) check_stream();
  } catch (const NatsError& error) {
    if (!error.retryable()) throw;
    wait_for_broker(error.what());
    return false;
  }
  // After a failed publish, only the next stored event tells that the broker is back.
  if (!scheduler_.probing()) enter(Phase::active);
  return true;
}

/// Made at the start, after each transient error, reconnect and election: the stream may have been deleted
/// meanwhile, or its server know no batches.
void RelaySession::check_stream() {
  const PulseHandover to_nats{context_.status.reading, context_.status.sending};
  const auto& stream = options_.publisher.stream;
  if (options_.manage_stream)
    ensure_stream(context_.connection, {.name = stream,
                                        .subjects = {options_.publisher.subject_prefix + ".>"},
                                        .replicas = options_.stream_replicas});
  const auto batches = atomic_batches(context_.connection, stream);
  scheduler_.allow_batches(batches == AtomicBatches::allowed);
  if (!std::exchange(stream_told_, true)) {
    warn_of_discards(context_.connection, stream);
    if (batches == AtomicBatches::not_allowed)
      spdlog::info(
          "stream {} has no allow_atomic: where many events of one aggregate wait, they go out one by one instead "
          "of in batches",
          stream);
  }
  backoff_.on_stream_checked();
}

/// With hundreds of megabytes to store, the server would answer too late: what is large goes out in groups,
/// each when the one before is answered.
bool RelaySession::large_events_wait() {
  constexpr std::size_t most_bytes = 16U << 20U;
  if (publisher_.in_flight() == 0) large_bytes_ = 0;
  return large_bytes_ >= most_bytes;
}

bool RelaySession::send() {
  const PulseHandover to_nats{context_.status.reading, context_.status.sending};
  bool sent = false;
  const bool probe_suspects = backoff_.may_send_suspects(Clock::now());
  // A process that was frozen in this loop may have a successor by now.
  while (writer_.fresh() && !large_events_wait()) {
    if (const auto next = scheduler_.next_send(probe_suspects))
      publisher_.publish(next->token, *next->event);
    else if (scheduler_.next_batch(batch_))
      publisher_.publish_batch(batch_);
    else
      break;
    sent = true;
  }
  // nats.c flushes in the background after a millisecond. With nothing more to send, or little because most
  // events wait for one of their aggregate, do it now.
  constexpr std::size_t few = 32;
  if (sent && (!reader_.may_have_more() || publisher_.in_flight() < few)) publisher_.flush();
  return sent;
}

/// What was due when rows were read, if they were, and could not be taken, waits for what wakes by itself: a
/// result, an outcome that is written, the broker's return.
void RelaySession::wait(std::optional<Timestamp> read_at) {
  constexpr milliseconds between_deadline_checks{250};
  auto longest = options_.processing_interval;
  const auto at_most = [&longest](milliseconds limit) { longest = std::min(longest, limit); };
  if (publisher_.in_flight() > 0) at_most(between_deadline_checks);
  const auto retry = read_at ? scheduler_.next_retry(*read_at) : std::nullopt;
  if (retry) at_most(*retry - retries_.now());
  const auto at_latest = [&](Clock::time_point time) {
    if (const auto left = time - Clock::now(); left.count() > 0)
      at_most(std::chrono::ceil<milliseconds>(left));
  };
  if (scheduler_.has_suspects()) at_latest(backoff_.suspects_paused_until());
  at_latest(retry_rows_.next_look());
  const auto now = Clock::now();
  if (backoff_.is_paused(now)) longest = std::chrono::ceil<milliseconds>(backoff_.paused_until() - now);
  context_.status.reading.rest();
  const bool written = context_.watch->wait(std::max(longest, milliseconds{1}));
  const bool notified = context_.notified.exchange(false);
  const bool poll_due = Clock::now() - polled_ >= options_.processing_interval;
  if (poll_due) polled_ = Clock::now();
  if (written || notified || poll_due) reader_.expect_rows();
}

/// Stopped: what is in flight is confirmed and written back, so that the next holder need not send it again.
void RelaySession::finish() {
  context_.status.reading.rest();  // it has an end of its own
  constexpr milliseconds stop_takes_at_most{5000};
  const auto deadline = Clock::now() + stop_takes_at_most;
  publisher_.flush();
  while (publisher_.in_flight() > 0 && Clock::now() < deadline && context_.connection.connected()) {
    context_.watch->wait(milliseconds{20});
    take_results();
  }
  take_results();
}

}  // namespace tidings
