#include "inbox/retention_clock.hpp"

#include "support/catch.hpp"

#include <optional>

using namespace tidings;
using namespace std::chrono_literals;
using std::chrono::days;

namespace {

const Timestamp today{std::chrono::sys_days{std::chrono::year{2026} / 3 / 1}};
const RetentionClock::Steady::time_point start{100h};

}  // namespace

TEST_CASE("the clock of a new inbox is the wall clock, and follows it") {
  RetentionClock clock;
  CHECK(clock.advance(today, std::nullopt, start) == today);
  CHECK(clock.advance(today + 1min, today, start + 1min) == today + 1min);
  CHECK(clock.advance(today + 1h, today + 1min, start + 1h) == today + 1h);
}

TEST_CASE(
    "a wall clock that jumps ahead is believed at twice the pace of time, over restarts and instances") {
  RetentionClock running;
  CHECK(running.advance(today, today, start) == today);
  CHECK(running.advance(today + days{30} + 1min, today, start + 1min) == today + 2min);
  // One that starts then does not believe it either, and both together are no faster.
  RetentionClock started;
  CHECK(started.advance(today + days{30} + 1min, today + 2min, start + 1min) == today + 2min);
  CHECK(started.advance(today + days{30} + 3min, today + 2min, start + 3min) == today + 6min);
  CHECK(running.advance(today + days{30} + 3min, today + 6min, start + 3min) == today + 6min);
  // After as long as it has jumped, it is right.
  CHECK(running.advance(today + days{60}, today + 6min, start + days{30}) == today + days{60});
}

TEST_CASE("a wall clock that is set back is believed at once, and so is its return") {
  RetentionClock clock;
  CHECK(clock.advance(today, today, start) == today);
  CHECK(clock.advance(today - days{1}, today, start + 1min) == today - days{1});
  CHECK(clock.advance(today + 2min, today, start + 2min) == today + 2min);
}
