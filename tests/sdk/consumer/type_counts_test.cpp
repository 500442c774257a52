#include "consumer/type_counts.hpp"

#include "support/catch.hpp"

#include <string>

using tidings::TypeCounts;

TEST_CASE("counts are kept for so many types, and for all others together") {
  TypeCounts counts;
  for (std::size_t i = 0; i < 3 * TypeCounts::most_types; ++i)
    ++counts.of("type-" + std::to_string(i)).handled;
  ++counts.of("type-0").retried;
  const auto stats = counts.read();
  CHECK(stats.size() == TypeCounts::most_types + 1);
  CHECK(stats.at("type-0").handled == 1);
  CHECK(stats.at("type-0").retried == 1);
  CHECK(stats.at(TypeCounts::rest).handled == 2 * TypeCounts::most_types);
}
