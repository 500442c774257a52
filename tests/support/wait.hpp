#pragma once

// Tests wait for a condition, with a deadline; they never sleep for a while and
// hope. A deadline is generous (it only ever passes when the code is broken),
// and what is asked for is seen within about two milliseconds.

#include "support/catch.hpp"

#include <poll.h>

#include <chrono>

namespace tidings::test {

using namespace std::chrono_literals;

/// True as soon as `condition()` is; false when it still is not at the deadline. Asks at least once.
template <class Condition>
[[nodiscard]] bool eventually(std::chrono::milliseconds deadline, Condition&& condition) {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    ::poll(nullptr, 0, 2);  // the one nap in the tests
  }
  return true;
}

/// Deadlines are written for a machine at leisure. Beside other tests, and where starting a process takes ten
/// times as long as elsewhere, the same work takes several times as long.
inline constexpr int busy_factor = 3;

}  // namespace tidings::test

/// REQUIRE_WITHIN(5s, inbox.count() == 3): fails the test, showing the condition, when it has not
/// become true by then, nor in `busy_factor` times as long.
#define REQUIRE_WITHIN(deadline, ...)                                                             \
  do {                                                                                            \
    INFO("waited for: " #__VA_ARGS__);                                                            \
    const bool came_true = ::tidings::test::eventually((deadline) * ::tidings::test::busy_factor, \
                                                       [&] { return bool(__VA_ARGS__); });        \
    REQUIRE(came_true);                                                                           \
  } while (false)
