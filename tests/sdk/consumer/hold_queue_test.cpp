#include "consumer/hold_queue.hpp"

#include "support/catch.hpp"

#include <chrono>

using namespace std::chrono_literals;
using tidings::HoldQueue;

namespace {

using Sequences = std::vector<std::uint64_t>;
const HoldQueue::Time start{1h};

}  // namespace

TEST_CASE("events are taken in the order of the stream, however they came") {
  HoldQueue queue;
  for (const auto sequence : {5U, 2U, 9U, 3U}) queue.add(sequence, "a");
  CHECK(queue.take(2, start) == Sequences{2, 3});
  CHECK(queue.take(9, start) == Sequences{5, 9});
}

TEST_CASE("an event that waits for its retry holds later ones of its key, and nobody else") {
  HoldQueue queue;
  queue.add(1, "a", start + 1s);
  for (const auto sequence : {2U, 4U}) queue.add(sequence, "a");
  queue.add(3, "b");
  CHECK(queue.held_keys(start) == 1);
  CHECK(queue.longest_key(start) == "a");
  CHECK(queue.take(9, start) == Sequences{3});
  CHECK(queue.next_due(start) == start + 1s);
  CHECK(queue.take(9, start + 1s) == Sequences{1, 2, 4});
  CHECK(queue.held_keys(start + 1s) == 0);
  CHECK_FALSE(queue.next_due(start + 1s));
}

TEST_CASE("an event that comes late passes a later one of its key that waits for its retry") {
  HoldQueue queue;
  queue.add(7, "a", start + 1s);
  queue.add(8, "a");
  queue.add(3, "a");
  CHECK(queue.take(9, start) == Sequences{3});
}

TEST_CASE("in a hold queue, events without a key hold nobody") {
  HoldQueue queue;
  queue.add(1, "", start + 1s);
  queue.add(2, "");
  CHECK(queue.take(9, start) == Sequences{2});
  CHECK(queue.longest_key(start).empty());
  CHECK(queue.take_all() == Sequences{1});
}
