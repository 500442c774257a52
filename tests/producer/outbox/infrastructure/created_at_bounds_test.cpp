#include "infrastructure/postgres/created_at_bounds.hpp"

#include "support/catch.hpp"

#include <string>

using namespace tidings;
using namespace std::chrono_literals;

namespace {

constexpr CreatedAtBounds::Clock::time_point start{};

}  // namespace

TEST_CASE("how far back hidden rows lie is unknown until all transactions of before are over") {
  CreatedAtBounds bounds;
  CHECK(bounds.hidden_from() == std::nullopt);
  bounds.add(10, 12, "noon", start);  // 10 has been open for nobody knows how long
  CHECK(bounds.hidden_from() == std::nullopt);
  bounds.add(11, 12, "one", start + 1h);
  CHECK(bounds.hidden_from() == std::nullopt);
  bounds.add(12, 13, "two", start + 2h);  // 12 began after noon, and also after one
  CHECK(bounds.hidden_from() == "one");
  bounds.add(13, 13, "three", start + 3h);
  CHECK(bounds.hidden_from() == "three");
}

TEST_CASE(
    "a transaction that is open for an hour keeps some hundred bounds, and moves them when it is over") {
  CreatedAtBounds bounds;
  bounds.add(100, 100, "0", start);
  TransactionId next = 101;
  for (auto time = 2ms; time < 1h; time += 2ms, ++next) {
    bounds.add(100, next, std::to_string(time.count()), start + time);
    if (bounds.hidden_from() != "0") FAIL("it began at 0, and not at " << *bounds.hidden_from());
  }
  CHECK(bounds.size() < 600);
  // Another one, open since 50 minutes, is then the oldest: it is known to within a sixty-fourth of that.
  constexpr auto began = 10min;
  const auto id = 101 + static_cast<TransactionId>(began / 2ms);
  bounds.add(id, next, "3600000", start + 1h);
  const std::chrono::milliseconds known{std::stol(*bounds.hidden_from())};
  CHECK(known <= began);
  CHECK(known >= began - 1min);
}
