#include "support/catch.hpp"
#include "support/environment.hpp"

#include <tidings/backoff.hpp>
#include <tidings/error.hpp>

#include <algorithm>
#include <limits>
#include <set>

using namespace std::chrono_literals;
using namespace tidings::test;
using tidings::Backoff;

namespace {

std::string key(int number) { return "0194b5f0-0000-7000-8000-" + std::to_string(100000000000 + number); }

const char* const base_name = "TIDINGS_TEST_BASE_MS";
const char* const max_name = "TIDINGS_TEST_MAX_MS";

}  // namespace

TEST_CASE("a delay doubles with each attempt, less up to a quarter") {
  const Backoff backoff{100ms, 1h};
  auto full = 100ms;
  for (int attempt = 1; attempt <= 12; ++attempt, full *= 2) {
    for (int i = 0; i < 200; ++i) {
      const auto delay = backoff.delay(attempt, key(i));
      REQUIRE(delay <= full);
      REQUIRE(delay >= full * 3 / 4);
    }
  }
}

TEST_CASE("no delay is longer than the maximum, however many attempts failed") {
  const Backoff backoff{1000ms, 300000ms};
  for (const int attempt : {10, 11, 40, 41, 63, 64, 65, 1000, std::numeric_limits<int>::max()}) {
    INFO("attempt " << attempt);
    CHECK(backoff.delay(attempt, "a") <= 300000ms);
    CHECK(backoff.delay(attempt, "a") >= 225000ms);
  }
}

TEST_CASE("a maximum that is no power of two of the base is reached") {
  const Backoff backoff{1000ms, 5000ms};
  auto longest = 0ms;
  for (int i = 0; i < 1000; ++i) longest = std::max(longest, backoff.delay(4, key(i)));
  CHECK(longest > 4900ms);
  CHECK(longest <= 5000ms);
}

TEST_CASE("extreme settings neither overflow nor give a delay below zero") {
  const Backoff longest{24h, 24h};
  CHECK(longest.delay(std::numeric_limits<int>::max(), "a") <= 24h);
  CHECK(longest.delay(std::numeric_limits<int>::max(), "a") >= 18h);
  const Backoff shortest{1ms, 1ms};
  CHECK(shortest.delay(1, "a") == 1ms);
  CHECK(shortest.delay(50, "a") == 1ms);
}

TEST_CASE("attempts below one wait as the first does") {
  const Backoff backoff{1000ms, 300000ms};
  for (const int attempt : {0, -1, std::numeric_limits<int>::min()}) {
    CHECK(backoff.delay(attempt, "a") <= 1000ms);
    CHECK(backoff.delay(attempt, "a") >= 750ms);
  }
}

TEST_CASE("a delay is the same wherever and whenever it is computed") {
  CHECK(Backoff{1000ms, 300000ms}.delay(1, "0194b5f0-1111-7000-8000-000000000001") ==
        Backoff{1000ms, 300000ms}.delay(1, "0194b5f0-1111-7000-8000-000000000001"));
  // Literal values: a changed hash would make two versions that run side by side disagree.
  CHECK(Backoff{1000ms, 300000ms}.delay(1, "0194b5f0-1111-7000-8000-000000000001") == 856ms);
  CHECK(Backoff{1000ms, 300000ms}.delay(3, "") == 3034ms);
}

TEST_CASE("events that failed together do not come back together") {
  const Backoff backoff{100000ms, 100000ms};
  std::set<std::chrono::milliseconds> delays;
  for (int i = 0; i < 1000; ++i) delays.insert(backoff.delay(1, key(i)));
  CHECK(delays.size() > 300);
  CHECK(*delays.begin() < 76000ms);
  CHECK(*delays.rbegin() > 99000ms);
}

TEST_CASE("the share taken off changes from attempt to attempt") {
  const Backoff backoff{100000ms, 100000ms};
  std::set<std::chrono::milliseconds> delays;
  for (int attempt = 1; attempt <= 10; ++attempt) delays.insert(backoff.delay(attempt, "a"));
  CHECK(delays.size() >= 8);
}

TEST_CASE("backoff settings come from the environment") {
  const EnvironmentVariable no_base{base_name, std::nullopt}, no_max{max_name, std::nullopt};
  CHECK(Backoff::from_environment(base_name, max_name).base == 1000ms);
  CHECK(Backoff::from_environment(base_name, max_name).max == 300000ms);

  const EnvironmentVariable base{base_name, "20"}, max{max_name, "400"};
  CHECK(Backoff::from_environment(base_name, max_name).base == 20ms);
  CHECK(Backoff::from_environment(base_name, max_name).max == 400ms);
}

TEST_CASE("a base above the default maximum raises the maximum that is not set") {
  const EnvironmentVariable base{base_name, "600000"}, max{max_name, std::nullopt};
  CHECK(Backoff::from_environment(base_name, max_name).max == 600000ms);
}

TEST_CASE("a maximum below the base and a base of zero are setting errors that name the setting") {
  const auto read = [] { (void)Backoff::from_environment(base_name, max_name); };
  {
    const EnvironmentVariable base{base_name, "2000"}, max{max_name, "1999"};
    const auto error = error_of<tidings::SettingError>(read);
    CHECK_THAT(error, ContainsSubstring(max_name) && ContainsSubstring("1999") && ContainsSubstring("2000"));
  }
  const EnvironmentVariable base{base_name, "0"};
  CHECK_THAT(error_of<tidings::SettingError>(read), ContainsSubstring(base_name));
}
