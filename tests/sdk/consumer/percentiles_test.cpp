// Percentiles against the exact ones of the same values, and how they forget.

#include "consumer/percentiles.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

using namespace tidings;
using namespace std::chrono_literals;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

namespace {

// Any time of a steady clock will do; a machine that has just been started has small ones.
const Percentiles::Clock::time_point begin{1h};

/// What a share of `sorted` does not exceed.
std::int64_t exact(const std::vector<std::int64_t>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(1, rank) - 1];
}

/// Not below the exact value, and an eighth above it at most.
void check_close(microseconds told, std::int64_t exact_micros) {
  CHECK(told.count() >= exact_micros);
  CHECK(told.count() <= exact_micros + exact_micros / 8);
}

}  // namespace

TEST_CASE("percentiles of nothing are 0") {
  const Percentiles none;
  for (const double share : {0.0, 0.5, 0.99, 1.0}) CHECK(none.at(share, begin) == 0us);
}

TEST_CASE("a percentile is an eighth above the exact one at most, and never below it") {
  const auto seed = GENERATE(range(0U, 8U));
  const double spread = GENERATE(0.1, 1.0, 3.0);  // from nearly equal durations to many orders of magnitude
  INFO("seed " << seed << " spread " << spread);
  std::mt19937 random{seed};
  std::lognormal_distribution<double> duration{8.0, spread};
  Percentiles percentiles;
  std::vector<std::int64_t> values;
  for (int i = 0; i < 2000; ++i) {
    values.push_back(static_cast<std::int64_t>(duration(random)));
    percentiles.add(microseconds{values.back()}, begin);
  }
  std::ranges::sort(values);
  for (const double share : {0.001, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0}) {
    INFO("share " << share);
    check_close(percentiles.at(share, begin), exact(values, share));
  }
}

TEST_CASE("one duration is told as itself, an eighth more at most, whatever it is") {
  const auto told = [](std::int64_t micros) {
    Percentiles one;
    one.add(microseconds{micros}, begin);
    CHECK(one.at(0.5, begin) == one.at(0.99, begin));
    return one.at(0.5, begin);
  };
  for (std::int64_t micros = 0; micros < 600; ++micros) check_close(told(micros), micros);
  for (int power = 9; power < 46; ++power)  // to two years: where buckets begin and end
    for (const std::int64_t around : {-1, 0, 1}) {
      const auto micros = (std::int64_t{1} << power) + around;
      INFO(micros);
      check_close(told(micros), micros);
    }
  for (std::int64_t micros = 1; micros < 16; ++micros) CHECK(told(micros).count() == micros);
}

TEST_CASE("durations that are no use are counted all the same") {
  Percentiles percentiles;
  SECTION("none at all and less than none, as of a clock that was set back") {
    percentiles.add(0ns, begin);
    percentiles.add(-5s, begin);
    CHECK(percentiles.at(1.0, begin) == 0us);
  }
  SECTION("less than a microsecond") {
    percentiles.add(1ns, begin);
    CHECK(percentiles.at(1.0, begin) == 1us);
  }
  SECTION("longer than any bucket") {
    percentiles.add(nanoseconds::max(), begin);
    CHECK(percentiles.at(1.0, begin) > hours{24 * 365});
  }
}

TEST_CASE("a rare long duration shows in the high percentiles only") {
  Percentiles percentiles;
  for (int i = 0; i < 995; ++i) percentiles.add(100us, begin);
  for (int i = 0; i < 5; ++i) percentiles.add(1s, begin);
  check_close(percentiles.at(0.5, begin), 100);
  check_close(percentiles.at(0.99, begin), 100);
  check_close(percentiles.at(0.999, begin), 1'000'000);
}

TEST_CASE("durations are remembered for a minute, and forgotten after two") {
  Percentiles percentiles;
  percentiles.add(1s, begin);
  for (auto time = 1s; time < 60s; time += 1s) percentiles.add(1ms, begin + time);
  check_close(percentiles.at(1.0, begin + 59s), 1'000'000);
  for (auto time = 60s; time < 120s; time += 1s) percentiles.add(1ms, begin + time);
  check_close(percentiles.at(1.0, begin + 119s), 1'000'000);
  percentiles.add(1ms, begin + 120s);
  check_close(percentiles.at(1.0, begin + 120s), 1'000);
}

TEST_CASE("after a pause of two minutes only what came since counts") {
  Percentiles percentiles;
  percentiles.add(1s, begin);
  percentiles.add(1s, begin + 61s);
  percentiles.add(1ms, begin + 10min);
  check_close(percentiles.at(1.0, begin + 10min), 1'000);
  check_close(percentiles.at(0.01, begin + 10min), 1'000);
}

TEST_CASE("durations are forgotten also when none come any more") {
  Percentiles percentiles;
  percentiles.add(1s, begin);
  percentiles.add(1ms, begin + 60s);
  check_close(percentiles.at(1.0, begin + 119s), 1'000'000);
  check_close(percentiles.at(1.0, begin + 120s), 1'000);  // the second minute's are left
  CHECK(percentiles.at(1.0, begin + 180s) == 0us);
  CHECK(percentiles.at(0.5, begin + 24h) == 0us);
}
