#include "nats/subject.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

using tidings::covers;
using tidings::is_literal_subject;
using tidings::overlaps;

namespace {

/// NATS' own rule, written the slow way: does `pattern` match this subject without wildcards?
bool matches(std::string_view pattern, std::string_view subject) {
  const auto pattern_end = std::min(pattern.find('.'), pattern.size());
  const auto subject_end = std::min(subject.find('.'), subject.size());
  const auto token = pattern.substr(0, pattern_end);
  if (subject.empty()) return pattern.empty();
  if (token == ">") return true;
  if (pattern.empty() || (token != "*" && token != subject.substr(0, subject_end))) return false;
  const auto rest = [](std::string_view text, std::size_t end) {
    return text.substr(std::min(end + 1, text.size()));
  };
  return matches(rest(pattern, pattern_end), rest(subject, subject_end));
}

/// Every subject of 1 to `length` of these tokens.
std::vector<std::string> subjects_of(const std::vector<std::string>& tokens, int length) {
  std::vector<std::string> all = tokens, longest = tokens;
  for (int i = 1; i < length; ++i) {
    std::vector<std::string> longer;
    for (const auto& head : longest)
      for (const auto& token : tokens) longer.push_back(head + "." + token);
    all.insert(all.end(), longer.begin(), longer.end());
    longest = std::move(longer);
  }
  return all;
}

}  // namespace

TEST_CASE("a stream's subjects cover what is published under its prefix") {
  CHECK(covers("auth.events.>", "auth.events.user.created"));
  CHECK(covers("auth.events.>", "auth.events.>"));
  CHECK(covers("auth.>", "auth.events.>"));
  CHECK(covers(">", "auth.events.>"));
  CHECK(covers("auth.*.>", "auth.events.>"));
  CHECK(covers("auth.*.user.*", "auth.events.user.created"));
}

TEST_CASE("a subject that is narrower or elsewhere does not cover") {
  CHECK_FALSE(covers("auth.events.user.>", "auth.events.>"));
  CHECK_FALSE(covers("auth.events.*", "auth.events.>"));
  CHECK_FALSE(covers("auth.events.user.created", "auth.events.>"));
  CHECK_FALSE(covers("auth.events", "auth.events.>"));
  CHECK_FALSE(covers("auth.events.>", "auth.events"));
  CHECK_FALSE(covers("auth.event.>", "auth.events.>"));
  CHECK_FALSE(covers("auth.events.>", "auth.eventsuser.created"));
  CHECK_FALSE(covers("auth.events.>", "auth.*.>"));
  CHECK_FALSE(covers("auth.events.user", "auth.events.*"));
  CHECK_FALSE(covers("orders.>", "auth.events.>"));
}

TEST_CASE("covers agrees with matching, for all subjects of up to three tokens") {
  auto patterns = subjects_of({"a", "b", "*"}, 3);
  for (const auto& head : subjects_of({"a", "b", "*"}, 2)) patterns.push_back(head + ".>");
  patterns.emplace_back(">");
  const auto subjects = subjects_of({"a", "b", "c"}, 4);  // c stands for any other token

  std::vector<std::string> wrong;
  for (const auto& wide : patterns) {
    for (const auto& narrow : patterns) {
      const bool expected = std::ranges::all_of(
          subjects, [&](const auto& subject) { return !matches(narrow, subject) || matches(wide, subject); });
      if (covers(wide, narrow) != expected) wrong.push_back(wide + " and " + narrow);
    }
  }
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("overlaps agrees with matching, for all subjects of up to three tokens") {
  auto patterns = subjects_of({"a", "b", "*"}, 3);
  for (const auto& head : subjects_of({"a", "b", "*"}, 2)) patterns.push_back(head + ".>");
  patterns.emplace_back(">");
  const auto subjects = subjects_of({"a", "b", "c"}, 4);

  std::vector<std::string> wrong;
  for (const auto& one : patterns) {
    for (const auto& other : patterns) {
      const bool expected = std::ranges::any_of(
          subjects, [&](const auto& subject) { return matches(one, subject) && matches(other, subject); });
      if (overlaps(one, other) != expected) wrong.push_back(one + " and " + other);
    }
  }
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("a subject that is published to has tokens without wildcards, spaces or control characters") {
  for (const char* legal :
       {"user", "auth.events.user.created", "_INBOX_relay", "größe.geändert", "a.$b.c-d"}) {
    CAPTURE(legal);
    CHECK(is_literal_subject(legal));
  }
  for (const char* illegal :
       {"", ".", ".a", "a.", "a..b", "a b", "a.*", "a.>", "*", "a\tb", "a\nb", "a\x7f"}) {
    CAPTURE(illegal);
    CHECK_FALSE(is_literal_subject(illegal));
  }
  CHECK_FALSE(is_literal_subject(std::string_view{"a\0b", 3}));
}
