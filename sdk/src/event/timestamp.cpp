#include <tidings/timestamp.hpp>

#include <algorithm>
#include <array>
#include <charconv>

namespace tidings {

using namespace std::chrono;

namespace {

/// Takes exactly `digits` digits off the front of `text`.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// `.123456`, or nothing; a dot alone is an error.
std::optional<milliseconds> take_fraction(std::string_view& text) {
  if (!take(text, ".")) return milliseconds{0};
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  int millis = 0;
  for (int scale = 100; !text.empty() && text.front() >= '0' && text.front() <= '9'; scale /= 10) {
    millis += (text.front() - '0') * scale;
    text.remove_prefix(1);
  }
  return milliseconds{millis};
}

/// `Z`, `+hh:mm`, `-hhmm`, `+hh`, with a space in front or without, or nothing (UTC).
std::optional<minutes> take_offset(std::string_view& text) {
  if (text.empty() || take(text, "Zz")) return minutes{0};
  take(text, " ");
  const bool negative = text.starts_with('-');
  if (!take(text, "+-")) return std::nullopt;
  const auto hour = take_number(text, 2);
  take(text, ":");
  const auto minute = text.empty() ? std::optional{0} : take_number(text, 2);
  if (!hour || !minute || *hour > 23 || *minute > 59) return std::nullopt;
  const minutes offset{*hour * 60 + *minute};
  return negative ? -offset : offset;
}

std::optional<Timestamp> epoch_milliseconds(std::string_view text) {
  std::int64_t millis = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), millis);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return Timestamp{milliseconds{millis}};
}

// What four digits of a year can express.
constexpr Timestamp earliest = sys_days{year{0} / 1 / 1};
constexpr Timestamp latest = sys_days{year{10000} / 1 / 1} - milliseconds{1};

}  // namespace

std::string to_iso8601(Timestamp time) {
  time = std::clamp(time, earliest, latest);
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  std::string text = "0000-00-00T00:00:00.000Z";
  const auto put = [&text](std::size_t end, std::int64_t number) {  // its last digit goes before `end`
    for (; number > 0; number /= 10) text[--end] = static_cast<char>('0' + number % 10);
  };
  put(4, static_cast<int>(date.year()));
  put(7, static_cast<unsigned>(date.month()));
  put(10, static_cast<unsigned>(date.day()));
  put(13, clock.hours().count());
  put(16, clock.minutes().count());
  put(19, clock.seconds().count());
  put(23, clock.subseconds().count());
  return text;
}

std::optional<Timestamp> parse_timestamp(std::string_view text) {
  if (auto whole = epoch_milliseconds(text)) return whole;
  constexpr std::array<std::string_view, 6> in_front{"", "-", "-", "Tt ", ":", ":"};
  std::array<int, 6> fields{};
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i > 0 && !take(text, in_front[i])) return std::nullopt;
    const auto number = take_number(text, i == 0 ? 4 : 2);
    if (!number) return std::nullopt;
    fields[i] = *number;
  }
  const auto [y, m, d, hour, minute, second] = fields;
  const auto fraction = take_fraction(text);
  const auto offset = take_offset(text);
  const year_month_day date{year{y}, month{static_cast<unsigned>(m)}, day{static_cast<unsigned>(d)}};
  if (!date.ok() || hour > 23 || minute > 59 || second > 60 || !fraction || !offset || !text.empty())
    return std::nullopt;
  return sys_days{date} + hours{hour} + minutes{minute} + seconds{second} + *fraction - *offset;
}

Timestamp now() { return floor<milliseconds>(system_clock::now()); }

}  // namespace tidings
