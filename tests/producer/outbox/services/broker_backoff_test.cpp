#include "services/broker_backoff.hpp"

#include "support/catch.hpp"

#include <chrono>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

namespace {

constexpr BrokerBackoff::Time start{1h};

/// Everything is tried again as soon as its pause is over, and fails again.
std::chrono::nanoseconds pause_after(BrokerBackoff& backoff, int failures) {
  auto now = start;
  for (int i = 1; i < failures; ++i) {
    CHECK(backoff.on_transient_error(now));
    now = backoff.paused_until();
  }
  CHECK(backoff.on_transient_error(now));
  return backoff.paused_until() - now;
}

}  // namespace

TEST_CASE("pauses of a broker that is away grow to five seconds, and begin anew when an event is stored") {
  BrokerBackoff backoff;
  CHECK_FALSE(backoff.is_paused(start));
  CHECK(pause_after(backoff, 1) <= 50ms);
  BrokerBackoff longer;
  const auto longest = pause_after(longer, 20);
  CHECK(longest >= 3s);
  CHECK(longest <= 5s);
  longer.on_stored();
  const auto later = longer.paused_until();
  CHECK(longer.on_transient_error(later));
  CHECK(longer.paused_until() - later <= 50ms);
}

TEST_CASE("an error in a pause makes it no longer, and a reconnect ends it") {
  BrokerBackoff backoff;
  CHECK(backoff.on_transient_error(start));
  const auto until = backoff.paused_until();
  CHECK(backoff.is_paused(until - 1ms));
  CHECK_FALSE(backoff.on_transient_error(until - 1ms));
  CHECK(backoff.paused_until() == until);
  CHECK_FALSE(backoff.is_paused(until));
  backoff.on_reconnected(start);
  CHECK_FALSE(backoff.is_paused(start));
}

TEST_CASE("a pause of suspect types holds up no others") {
  BrokerBackoff backoff;
  CHECK(backoff.may_send_suspects(start));
  backoff.on_suspects_only(start);
  CHECK_FALSE(backoff.may_send_suspects(start));
  CHECK_FALSE(backoff.is_paused(start));
  const auto until = backoff.suspects_paused_until();
  backoff.on_suspects_only(until - 1ms);
  CHECK(backoff.suspects_paused_until() == until);
  CHECK(backoff.may_send_suspects(until));
}

TEST_CASE("a new leader is given a moment, whatever was paused before") {
  BrokerBackoff backoff;
  (void)pause_after(backoff, 20);
  backoff.on_suspects_only(start);
  backoff.on_new_leader(start);
  CHECK(backoff.is_paused(start));
  CHECK_FALSE(backoff.is_paused(start + 100ms));
  CHECK(backoff.may_send_suspects(start));
}

TEST_CASE(
    "the stream is looked at first, at once after a reconnect, and later where it may be being deleted") {
  BrokerBackoff backoff;
  CHECK(backoff.is_stream_check_due(start));
  backoff.on_stream_checked();
  CHECK_FALSE(backoff.is_stream_check_due(start + 1h));
  CHECK(backoff.on_transient_error(start));
  CHECK_FALSE(backoff.is_stream_check_due(start + 199ms));
  backoff.on_doubt_of_stream(start + 100ms);  // puts off nothing
  CHECK(backoff.is_stream_check_due(start + 200ms));
  backoff.on_stream_checked();
  backoff.on_reconnected(start);
  CHECK(backoff.is_stream_check_due(start));
}
