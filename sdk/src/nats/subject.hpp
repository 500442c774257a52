#pragma once

// The rules of NATS subjects: tokens with dots between them; `*` matches one token, and `>` all that remain.
// And those of names of streams.

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace tidings {

/// True for a subject that can be published to: no wildcard, no empty token, no space or control character.
[[nodiscard]] inline bool is_literal_subject(std::string_view subject) {
  const auto is_illegal = [](char letter) {
    return static_cast<unsigned char>(letter) <= ' ' || letter == '*' || letter == '>' || letter == '\x7f';
  };
  return !subject.empty() && subject.front() != '.' && subject.back() != '.' &&
         subject.find("..") == std::string_view::npos && std::ranges::none_of(subject, is_illegal);
}

/// True for a name that a stream can have: a part of subjects, and of the server's files.
[[nodiscard]] inline bool is_stream_name(std::string_view name) {
  constexpr std::size_t longest = 255;
  return name.size() <= longest && is_literal_subject(name) &&
         name.find_first_of("./\\") == std::string_view::npos;
}

/// Cuts the first token off.
[[nodiscard]] inline std::string_view take_token(std::string_view& subject) {
  const auto token = subject.substr(0, subject.find('.'));
  subject.remove_prefix(std::min(token.size() + 1, subject.size()));
  return token;
}

/// True when every subject that `narrow` can match is matched by `wide` (NATS wildcards).
[[nodiscard]] inline bool covers(std::string_view wide, std::string_view narrow) {
  while (!wide.empty() && !narrow.empty()) {
    const auto wide_token = take_token(wide);
    const auto narrow_token = take_token(narrow);
    if (wide_token == ">") return true;
    if (narrow_token == ">" || (wide_token != "*" && wide_token != narrow_token)) return false;
  }
  return wide.empty() && narrow.empty();
}

/// True when some subject is matched by both (NATS wildcards).
[[nodiscard]] inline bool overlaps(std::string_view one, std::string_view other) {
  while (!one.empty() && !other.empty()) {
    const auto its = take_token(one), others = take_token(other);
    if (its == ">" || others == ">") return true;
    if (its != "*" && others != "*" && its != others) return false;
  }
  return one.empty() && other.empty();
}

}  // namespace tidings
