#include "consumer/key_order.hpp"

#include "support/catch.hpp"
#include "support/key_order.hpp"

using namespace tidings;
using namespace std::chrono_literals;

namespace {

constexpr KeyOrder::Clock::time_point begin{1h};

/// An instance that has got the first ten messages that the group has handed out.
struct Instance : test::KeyHolds {
  Instance() {
    for (int i = 0; i < 10; ++i) next(begin);
  }
  /// Another message comes to it.
  void next(Clock::time_point at) { arrived(++handed_out, at); }
  /// Another instance got one before.
  void next_after_gap(Clock::time_point at) { arrived(handed_out += 2, at); }

  std::uint64_t handed_out = 0;
};

}  // namespace

TEST_CASE("later events of an aggregate wait until a little after the retry, earlier and others do not") {
  Instance held;
  held.hold("a", 10, begin + 1s);
  CHECK(held.holds("a", 11));
  CHECK(held.hold_behind("a", 11, begin) == 1050ms);
  CHECK(held.holds("a", 12));
  CHECK(held.hold_behind("a", 12, begin + 900ms) == 1050ms);
  CHECK_FALSE(held.holds("a", 10));  // the retry itself
  CHECK_FALSE(held.holds("a", 9));
  CHECK_FALSE(held.holds("b", 11));
}

TEST_CASE("what was held back holds those behind it, until it has come again and is settled") {
  Instance held;
  held.hold("a", 10, begin + 1s);
  (void)held.hold_behind("a", 11, begin);
  (void)held.hold_behind("a", 12, begin);
  held.release("a", 10);
  held.release("b", 11);
  CHECK_FALSE(held.holds("a", 11));
  CHECK(held.holds("a", 12));  // came too early
  CHECK(held.holds("a", 13));  // is new
  CHECK(held.hold_behind("a", 13, begin + 1s) == 1050ms);
  held.release("a", 11);
  CHECK_FALSE(held.holds("a", 12));
  CHECK(held.holds("a", 13));
  for (const auto sequence : {12, 13}) held.release("a", static_cast<std::uint64_t>(sequence));
  CHECK_FALSE(held.holds("a", 14));
}

TEST_CASE("an instance that gets all that the group hands out waits for what it gave back") {
  Instance held;
  held.hold("a", 10, begin + 1s);
  (void)held.hold_behind("a", 11, begin);
  held.next(begin + 60s);
  CHECK(held.holds("a", 11));
  CHECK(held.holds("a", 12));
  // But not for ever.
  held.next(begin + 61s);
  CHECK_FALSE(held.holds("a", 11));
  CHECK(held.holds("a", 12));  // behind 11, which was to come a little later
  held.next(begin + 61050ms);
  CHECK_FALSE(held.holds("a", 12));
}

TEST_CASE("a hold lasts as long as the AckWait that was told last") {
  Instance held;
  held.hold("a", 10, begin);
  held.use(1min);
  held.next(begin + 119s);
  CHECK(held.holds("a", 11));
  held.use(500ms);
  CHECK_FALSE(held.holds("a", 11));
}

TEST_CASE("time in handlers ends no hold: what it is for may have come meanwhile") {
  Instance held;
  held.hold("a", 10, begin + 1s);
  CHECK(held.hold_behind("a", 11, begin + 1h) == 50ms);
  CHECK(held.holds("a", 12));
}

TEST_CASE("an event that comes again too early is given back for longer each time") {
  Instance held;
  held.hold("a", 10, begin);
  for (const auto delay : {50ms, 100ms, 200ms, 400ms, 800ms, 1600ms, 3200ms, 3200ms}) {
    CHECK(held.hold_behind("a", 11, begin + 1s) == delay);
    CHECK(held.hold_behind("a", 12, begin + 1s) == delay);  // stays behind it
    held.next(begin + 1s);
  }
  held.hold("a", 10, begin + 2s);  // is not late any more
  CHECK(held.hold_behind("a", 11, begin + 1s) == 1050ms);
}

TEST_CASE("once others had messages, a retry alone holds, and until a little after its time") {
  Instance held;
  held.hold("a", 10, begin + 1s);
  (void)held.hold_behind("a", 11, begin);
  held.next_after_gap(begin + 1499ms);
  CHECK(held.holds("a", 11));
  CHECK(held.holds("a", 12));
  held.release("a", 10);
  CHECK_FALSE(held.holds("a", 12));

  held.hold("a", 10, begin + 3s);
  held.next_after_gap(begin + 3499ms);
  CHECK(held.holds("a", 11));
  held.next(begin + 3500ms);
  CHECK_FALSE(held.holds("a", 11));
}

TEST_CASE("what others had before counts for nothing later, and a group made again counts anew") {
  Instance held;
  held.next_after_gap(begin);
  held.hold("a", 10, begin);
  held.next(begin + 10s);
  CHECK(held.holds("a", 11));
  held.arrived(1, begin + 10s);
  CHECK_FALSE(held.holds("a", 11));
}

TEST_CASE("events without a key hold nobody") {
  Instance held;
  held.hold("", 10, begin + 1s);
  CHECK_FALSE(held.holds("", 11));
}

TEST_CASE("holds of keys that nothing comes for any more do not hide those that count") {
  Instance held;
  held.hold("a", 1, begin + 3h);
  for (int i = 0; i < 10000; ++i) {
    held.next(begin + i * 1s);
    held.hold("key-" + std::to_string(i), 1, begin + i * 1s);
  }
  CHECK(held.holds("a", 2));
  CHECK(held.holds("key-9999", 2));
}
