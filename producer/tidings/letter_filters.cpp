#include "letter_filters.hpp"

#include <charconv>
#include <optional>
#include <string_view>

namespace tidings {
namespace {

/// `30m` ago, or a time.
std::optional<Timestamp> read_since(std::string_view text) {
  using namespace std::chrono;
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  constexpr std::int64_t most = 1'000'000;
  if (error == std::errc{} && end == text.data() + text.size() - 1 && count >= 0 && count <= most) {
    switch (text.back()) {
      case 's':
        return now() - seconds{count};
      case 'm':
        return now() - minutes{count};
      case 'h':
        return now() - hours{count};
      case 'd':
        return now() - days{count};
      default:
        return std::nullopt;
    }
  }
  return parse_timestamp(text);
}

/// It becomes part of a subject.
std::string check_group(const std::string& group) {
  const bool fits =
      group.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
      std::string::npos;
  return fits && !group.empty() ? std::string{} : "is no group: takes letters, digits, _ and -";
}

std::string check_since(const std::string& since) {
  return read_since(since) ? std::string{}
                           : since + ": takes 30s, 15m, 2h, 7d or a time as 2026-01-31T08:15:00Z";
}

}  // namespace

void LetterFilterFlags::add_to(CLI::App& command) {
  const auto add = [&command](const char* flag, std::string& value, const char* help) {
    return command.add_option(flag, value, help)->group("Filters");
  };
  add("--group", group, "only those of this consumer group")->check(check_group);
  add("--type", type, "only events of this type; user.* takes all of user");
  add("--aggregate", aggregate, "only events of this aggregate: its id, or User/42");
  add("--since", since, "only what failed since then: 15m, 2h, 7d ago, or a time in ISO 8601")
      ->check(check_since);
  add("--reason", reason, "only those whose reason contains this");
}

bool LetterFilterFlags::given() const {
  return !(group.empty() && type.empty() && aggregate.empty() && since.empty() && reason.empty());
}

DeadLetterFilter LetterFilterFlags::read() const {
  return {.group = group,
          .type = type,
          .aggregate = aggregate,
          .reason = reason,
          .since = since.empty() ? std::nullopt : read_since(since)};
}

}  // namespace tidings
