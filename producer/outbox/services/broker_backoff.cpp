#include "services/broker_backoff.hpp"

#include "nats/leader_advisories.hpp"

#include <tidings/backoff.hpp>

namespace tidings {

using std::chrono::milliseconds;

// A server answers for a stream no more before it has deleted it (2.9.10): one that is made again at once
// loses its files with the old one, and then stores nothing, or forgets what it has acknowledged.
constexpr milliseconds deletion_takes{200};

void BrokerBackoff::on_reconnected(Time now) {
  failures_ = 0;
  paused_until_ = suspects_paused_until_ = {};
  check_stream_at_ = now;
}

void BrokerBackoff::on_new_leader(Time now) {
  on_reconnected(now);
  paused_until_ = now + leader_begins;
}

bool BrokerBackoff::on_transient_error(Time now) {
  if (is_paused(now)) return false;
  paused_until_ = next_try(now);
  on_doubt_of_stream(now);
  return true;
}

void BrokerBackoff::on_suspects_only(Time now) {
  if (may_send_suspects(now)) suspects_paused_until_ = next_try(now);
}

void BrokerBackoff::on_doubt_of_stream(Time now) {
  if (!check_stream_at_) check_stream_at_ = now + deletion_takes;
}

BrokerBackoff::Time BrokerBackoff::next_try(Time now) {
  constexpr Backoff backoff{.base = milliseconds{50}, .max = milliseconds{5000}};
  return now + backoff.delay(++failures_, key_);
}

}  // namespace tidings
