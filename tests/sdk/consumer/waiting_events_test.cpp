#include "consumer/waiting_events.hpp"

#include "support/catch.hpp"

using tidings::WaitingEvents;
using namespace std::chrono_literals;

namespace {

constexpr WaitingEvents::Clock::time_point start{};

WaitingEvents waiting_for_a_minute(int count) {
  WaitingEvents events;
  for (int i = 0; i < count; ++i) events.add(start + 1min, start);
  return events;
}

}  // namespace

TEST_CASE("an event waits until its time") {
  WaitingEvents events;
  events.add(start + 2s, start);
  events.add(start + 1s, start);
  events.add(start + 3s, start);
  CHECK(events.count(start) == 3);
  CHECK(events.count(start + 1s) == 2);
  CHECK(events.count(start + 10s) == 0);
}

TEST_CASE("waiting events starve others when they take more than half of the group's max ack pending") {
  CHECK_FALSE(waiting_for_a_minute(10).crowd_out(0, 20, 0, start));
  CHECK(waiting_for_a_minute(11).crowd_out(0, 20, 0, start));
  CHECK(waiting_for_a_minute(4).crowd_out(11, 20, 3, start));  // the rest waits at other instances
  CHECK_FALSE(waiting_for_a_minute(4).crowd_out(10, 20, 3, start));
  CHECK_FALSE(waiting_for_a_minute(4).crowd_out(20, 20, 4, start));  // most is being handled
  CHECK_FALSE(waiting_for_a_minute(11).crowd_out(0, 20, 0, start + 1min));
  CHECK_FALSE(waiting_for_a_minute(1000).crowd_out(1000, std::uint64_t{0} - 1, 0, start));  // no limit
}

TEST_CASE("that waiting events starve others is told once, until they have gone") {
  auto events = waiting_for_a_minute(11);
  CHECK(events.crowd_out(0, 20, 0, start));
  CHECK_FALSE(events.crowd_out(0, 20, 0, start));
  CHECK_FALSE(events.crowd_out(5, 20, 0, start + 1min));
  for (int i = 0; i < 11; ++i) events.add(start + 2min, start + 1min);
  CHECK_FALSE(events.crowd_out(0, 20, 0, start + 1min));
  CHECK_FALSE(events.crowd_out(4, 20, 0, start + 2min));
  for (int i = 0; i < 11; ++i) events.add(start + 3min, start + 2min);
  CHECK(events.crowd_out(0, 20, 0, start + 2min));
}
