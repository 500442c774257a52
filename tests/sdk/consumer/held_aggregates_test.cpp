#include "consumer/held_aggregates.hpp"

#include "support/catch.hpp"

using namespace tidings;
using namespace std::chrono_literals;

namespace {

constexpr HeldAggregates::Clock::time_point begin{1h};

}  // namespace

TEST_CASE("later events of an aggregate wait until a little after the retry, earlier and others do not") {
  HeldAggregates held;
  held.hold("a", 10, begin + 1s, begin);
  CHECK(held.delay("a", 11, begin) == 1050ms);
  CHECK(held.delay("a", 12, begin + 900ms) == 150ms);
  CHECK_FALSE(held.delay("a", 10, begin));  // the retry itself
  CHECK_FALSE(held.delay("a", 9, begin));
  CHECK_FALSE(held.delay("b", 11, begin));
}

TEST_CASE("a hold ends when its event is settled, or a little after its time") {
  HeldAggregates held;
  held.hold("a", 10, begin + 1s, begin);
  held.release("a", 11);  // another
  held.release("b", 10);
  CHECK(held.delay("a", 11, begin + 1s) == 50ms);
  CHECK(held.delay("a", 11, begin + 1499ms) == 50ms);
  CHECK_FALSE(held.delay("a", 11, begin + 1500ms));

  held.hold("a", 10, begin + 3s, begin + 2s);
  held.release("a", 10);
  CHECK_FALSE(held.delay("a", 11, begin + 2s));
}

TEST_CASE("of two that wait in an aggregate the earlier one holds, with its latest time") {
  HeldAggregates held;
  held.hold("a", 10, begin + 1s, begin);
  held.hold("a", 12, begin + 9s, begin);
  CHECK(held.delay("a", 13, begin) == 1050ms);
  held.hold("a", 10, begin + 5s, begin);
  CHECK(held.delay("a", 13, begin) == 5050ms);
  held.hold("a", 8, begin + 2s, begin);
  CHECK(held.delay("a", 10, begin) == 2050ms);
}

TEST_CASE("events without a key hold nobody") {
  HeldAggregates held;
  held.hold("", 10, begin + 1s, begin);
  CHECK_FALSE(held.delay("", 11, begin));
}
