#include "support/catch.hpp"

#include <tidings/timestamp.hpp>

using tidings::parse_timestamp;
using tidings::Timestamp;
using tidings::to_iso8601;

namespace {

constexpr Timestamp at(std::int64_t milliseconds) {
  return Timestamp{std::chrono::milliseconds{milliseconds}};
}

/// What a text is read as, in the form that we write; "none" when it is no timestamp.
std::string read(std::string_view text) {
  const auto time = parse_timestamp(text);
  return time ? to_iso8601(*time) : "none";
}

}  // namespace

TEST_CASE("a timestamp is written as ISO-8601 in UTC with milliseconds") {
  CHECK(to_iso8601(at(0)) == "1970-01-01T00:00:00.000Z");
  CHECK(to_iso8601(at(1769847330123)) == "2026-01-31T08:15:30.123Z");
  CHECK(to_iso8601(at(1709164800007)) == "2024-02-29T00:00:00.007Z");
  CHECK(to_iso8601(at(-1)) == "1969-12-31T23:59:59.999Z");
}

TEST_CASE("what is written is read back to the millisecond") {
  // Steps of about 11 days that hit every part of the clock, from 1913 to 2083.
  for (std::int64_t i = -1800; i <= 3600; ++i) {
    const auto time = at(i * 987'654'321 + i);
    const auto text = to_iso8601(time);
    INFO(text);
    REQUIRE(parse_timestamp(text) == time);
  }
}

TEST_CASE("RFC 3339 is read with any offset and any number of decimals") {
  CHECK(read("2026-01-31T08:15:30Z") == "2026-01-31T08:15:30.000Z");
  CHECK(read("2026-01-31t08:15:30z") == "2026-01-31T08:15:30.000Z");
  CHECK(read("2026-01-31T08:15:30.1Z") == "2026-01-31T08:15:30.100Z");
  CHECK(read("2026-01-31T08:15:30.12Z") == "2026-01-31T08:15:30.120Z");
  CHECK(read("2026-01-31T08:15:30.123456789Z") == "2026-01-31T08:15:30.123Z");
  CHECK(read("2026-01-31T08:15:30.9999Z") == "2026-01-31T08:15:30.999Z");
  CHECK(read("2026-01-31T08:15:30.123+02:00") == "2026-01-31T06:15:30.123Z");
  CHECK(read("2026-01-31T23:15:30-05:30") == "2026-02-01T04:45:30.000Z");
  CHECK(read("2026-01-01T00:30:00+01:00") == "2025-12-31T23:30:00.000Z");
}

TEST_CASE("SQLite's own form is taken as UTC") {
  CHECK(read("2026-01-31 08:15:30") == "2026-01-31T08:15:30.000Z");
  CHECK(read("2026-01-31 08:15:30.5") == "2026-01-31T08:15:30.500Z");
}

TEST_CASE("an offset may stand behind a space, as Sequelize writes it, or be of hours alone") {
  CHECK(read("2026-03-01 10:00:00.123 +00:00") == "2026-03-01T10:00:00.123Z");
  CHECK(read("2026-03-01 10:00:00 -02:30") == "2026-03-01T12:30:00.000Z");
  CHECK(read("2026-03-01 10:00:00.123+00") == "2026-03-01T10:00:00.123Z");
}

TEST_CASE("whole numbers are milliseconds since the epoch") {
  CHECK(parse_timestamp("1769847330123") == at(1769847330123));
  CHECK(parse_timestamp("0") == at(0));
}

TEST_CASE("what is no timestamp gives none") {
  const auto text = GENERATE(as<std::string>{}, "", " ", "yesterday", "2026-01-31", "2026-01-31T08:15",
                             "2026-01-31T08:15:30Zx", "2026-01-31T08:15:30 ", " 2026-01-31T08:15:30Z",
                             "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-32T00:00:00Z",
                             "2026-02-29T00:00:00Z", "2026-01-31T25:00:00Z", "2026-01-31T08:60:00Z",
                             "2026-01-31T08:15:61Z", "2026-01-31T08:15:30+2", "2026-01-31T08:15:30+24:00",
                             "2026-01-31T08:15:30+02:60", "26-01-31T08:15:30Z", "2026/01/31T08:15:30Z",
                             "1769847330.123", "1769847330123ms", "99999999999999999999");
  INFO(text);
  CHECK(read(text) == "none");
}

TEST_CASE("leap days are days of leap years only") {
  CHECK(read("2024-02-29T00:00:00Z") == "2024-02-29T00:00:00.000Z");
  CHECK(read("2000-02-29T00:00:00Z") == "2000-02-29T00:00:00.000Z");
  CHECK(read("2100-02-29T00:00:00Z") == "none");
}

TEST_CASE("now has the resolution of the wire and does not lag behind the clock") {
  const auto before = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto time = tidings::now();
  CHECK(time >= before);
  CHECK(time <= std::chrono::system_clock::now());
  CHECK(parse_timestamp(to_iso8601(time)) == time);
}
