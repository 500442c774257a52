#include "nats/subject.hpp"

#include <algorithm>

namespace tidings {
namespace {

std::string_view take_token(std::string_view& subject) {
  const auto dot = subject.find('.');
  const auto token = subject.substr(0, dot);
  subject.remove_prefix(dot == std::string_view::npos ? subject.size() : dot + 1);
  return token;
}

bool is_illegal(char letter) {
  return static_cast<unsigned char>(letter) <= ' ' || letter == '*' || letter == '>' || letter == '\x7f';
}

}  // namespace

bool is_literal_subject(std::string_view subject) {
  return !subject.empty() && subject.front() != '.' && subject.back() != '.' &&
         subject.find("..") == std::string_view::npos && std::ranges::none_of(subject, is_illegal);
}

bool covers(std::string_view wide, std::string_view narrow) {
  while (!wide.empty() && !narrow.empty()) {
    const auto wide_token = take_token(wide);
    const auto narrow_token = take_token(narrow);
    if (wide_token == ">") return true;
    if (narrow_token == ">" || (wide_token != "*" && wide_token != narrow_token)) return false;
  }
  return wide.empty() && narrow.empty();
}

}  // namespace tidings
