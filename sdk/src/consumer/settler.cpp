#include "consumer/settler.hpp"

#include <tidings/timestamp.hpp>

#include <spdlog/spdlog.h>

#include <algorithm>

namespace tidings {
namespace {

constexpr std::size_t most_types_told = 100;  // a sender that invents types must not fill the memory

std::chrono::nanoseconds age(const Delivery& delivery) {
  return now() - parse_timestamp(delivery.event.time).value_or(delivery.stored_at);
}

/// It says nothing of how long a message takes.
bool goes_back_unstarted(Settlement::Kind kind) {
  using enum Settlement::Kind;
  return kind == not_started || kind == held_back || kind == paused;
}

}  // namespace

Settler::Settler(ConsumerContext& context, Puller& puller, DeadLetters& dead_letters, OutageWait& outage,
                 std::stop_token stop)
    : context_(context),
      options_(context.options),
      meters_(context.meters),
      puller_(puller),
      dead_letters_(dead_letters),
      outage_(outage),
      stop_(std::move(stop)) {}

void Settler::committed(std::size_t messages) {
  ++meters_.commits;
  meters_.last_commit = std::chrono::system_clock::now().time_since_epoch().count();
  context_.pulse.step();
  if (messages > 0) meters_.last_commit_size = messages;
}

void Settler::settle(StreamMessagePtr message, const Settlement& settlement) {
  using Kind = Settlement::Kind;
  const auto& delivery = message->delivery;
  const auto time = Percentiles::Clock::now();
  if (!goes_back_unstarted(settlement.kind)) puller_.settled_in(settlement.took);
  if (settlement.took.count() > 0) meters_.handling.add(settlement.took, time);
  if (settlement.kind == Kind::dead_letter) return dead_letter(std::move(message), settlement);
  count(delivery.event.type, settlement.kind);
  switch (settlement.kind) {
    case Kind::handled:
      meters_.age.add(age(delivery), time);
      context_.on_success({.delivery = delivery, .took = settlement.took});
      return puller_.ack(std::move(message));
    case Kind::retry:
      spdlog::warn("retry id={} type={} attempt={} delay_ms={} reason=\"{}\"", delivery.event.id,
                   delivery.event.type, settlement.attempts, settlement.delay.count(), settlement.reason);
      tell_failure(delivery, settlement);
      return nak_or_keep(std::move(message), settlement);
    case Kind::unavailable:
      tell_failure(delivery, settlement);
      return nak_or_keep(std::move(message), settlement);
    case Kind::fenced: {
      // It is no longer ours: the instance that has it now settles it.
      auto late = settlement;
      late.delay = {};
      if (late.reason.empty()) late.reason = "the handler ended too late";
      spdlog::warn("fenced id={} type={} attempt={} reason=\"{}\"", delivery.event.id, delivery.event.type,
                   late.attempts, late.reason);
      tell_failure(delivery, late);
      if (strict_ != nullptr) nak_or_keep(std::move(message), settlement);
      return;
    }
    case Kind::ignored:
      tell_ignored(delivery.event.type);
      return puller_.ack(std::move(message));
    case Kind::duplicate:
      return puller_.ack(std::move(message));
    default:
      return nak_or_keep(std::move(message), settlement);
  }
}

/// At a stop its successor gets it at once, since it starts nothing before it has all.
void Settler::nak_or_keep(StreamMessagePtr message, const Settlement& settlement) {
  if (strict_ == nullptr) return puller_.nak(std::move(message), settlement.delay);
  if (stop_.stop_requested())
    return puller_.stopped() ? puller_.nak(std::move(message)) : keep_for_drain(std::move(message));
  strict_->put_back(std::move(message), settlement);
}

/// A dead letter is counted once it is stored.
void Settler::count(const std::string& type, Settlement::Kind kind) {
  using Kind = Settlement::Kind;
  const auto one = [this, &type](ConsumerMeters::Count& count,
                                 ConsumerMeters::Count TypeCounts::Counts::*of_type) {
    ++count;
    ++(meters_.by_type.of(type).*of_type);
  };
  switch (kind) {
    case Kind::handled:
      return one(meters_.handled, &TypeCounts::Counts::handled);
    case Kind::ignored:
      return one(meters_.ignored, &TypeCounts::Counts::ignored);
    case Kind::retry:
      return one(meters_.retried, &TypeCounts::Counts::retried);
    case Kind::unavailable:
      return one(meters_.unavailable, &TypeCounts::Counts::unavailable);
    case Kind::dead_letter:
      return one(meters_.dead_lettered, &TypeCounts::Counts::dead_lettered);
    case Kind::duplicate:
      ++meters_.duplicates;
      return;
    case Kind::paused:
      ++meters_.paused;
      return;
    case Kind::held_back:
      ++meters_.held_back;
      return;
    case Kind::fenced:
      ++meters_.fenced;
      return;
    case Kind::not_started:
      return;
  }
}

/// Logs each type once: a mistyped name is noticed, and a type meant for other groups does not fill the log.
void Settler::tell_ignored(const std::string& type) {
  if (ignored_types_.size() < most_types_told && ignored_types_.insert(type).second)
    spdlog::warn("no handler for type={}: its events are acked and counted as ignored", type);
}

/// The copy is confirmed before the original is terminated. Without a confirmed copy the message stays. Its
/// attempts are on disk, so its next receiver starts no handler.
void Settler::dead_letter(StreamMessagePtr message, const Settlement& settlement) {
  if (stop_.stop_requested())
    return puller_.stopped() ? puller_.nak(std::move(message)) : keep_for_drain(std::move(message));
  if (dead_letters_.pause_left().count() > 0) return try_dead_letter_later(std::move(message));
  const auto& delivery = message->delivery;
  try {
    const PulseHandover to_nats{context_.pulse, context_.nats};
    dead_letters_.publish(delivery, message->payload(), settlement);
  } catch (const NatsError& error) {
    spdlog::error("the dead letter was not stored, the message stays on its stream: id={} {}",
                  delivery.event.id, outage_.reason(error));
    return try_dead_letter_later(std::move(message));
  }
  spdlog::error("dead letter id={} type={} sequence={} attempts={} reason=\"{}\"", delivery.event.id,
                delivery.event.type, delivery.stream_sequence, settlement.attempts, settlement.reason);
  count(delivery.event.type, settlement.kind);
  tell_failure(delivery, settlement);
  puller_.terminate(std::move(message));
}

void Settler::try_dead_letter_later(StreamMessagePtr message) {
  const auto& delivery = message->delivery;
  const auto delay = options_.backoff.delay(static_cast<int>(delivery.delivered), delivery.subject);
  const auto longest = std::max(delay, dead_letters_.pause_left());
  if (strict_ != nullptr) return strict_->put_aside(std::move(message), longest);
  puller_.nak(std::move(message), longest);
}

void Settler::tell_failure(const Delivery& delivery, const Settlement& settlement) const {
  context_.on_failure({.delivery = delivery,
                       .reason = settlement.reason,
                       .dead_letter = settlement.kind == Settlement::Kind::dead_letter,
                       .attempts = settlement.attempts,
                       .delay = settlement.delay,
                       .unavailable = settlement.kind == Settlement::Kind::unavailable});
}

}  // namespace tidings
