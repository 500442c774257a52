#include "event/json_scanner.hpp"

#include <algorithm>
#include <charconv>

namespace tidings {
namespace {

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }
unsigned char byte(char letter) { return static_cast<unsigned char>(letter); }

/// In a string, a character of one byte that is neither its end nor an escape.
bool is_plain(char letter) {
  return byte(letter) >= 0x20 && byte(letter) < 0x80 && letter != '"' && letter != '\\';
}

/// Bytes of the UTF-8 character that `text` begins with; 0 when it is invalid (overlong, surrogate, cut off).
std::size_t utf8_length(std::string_view text) {
  const unsigned first = byte(text[0]);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  const unsigned lowest = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned highest = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(text[1]) < lowest || byte(text[1]) > highest) return 0;
  const auto continues = [](char letter) { return (byte(letter) & 0xc0U) == 0x80; };
  return std::ranges::all_of(text.substr(2, length - 2), continues) ? length : 0;
}

}  // namespace

bool nests_deeper(std::string_view json, int levels) noexcept {
  if (json.size() <= 2 * static_cast<std::size_t>(levels)) return false;  // each is opened and closed
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size() && depth <= levels; ++i) {
    const char letter = json[i];
    if (letter == '"')
      in_string = !in_string;
    else if (in_string)
      i += letter == '\\' ? 1 : 0;
    else if (letter == '[' || letter == '{')
      ++depth;
    else if (letter == ']' || letter == '}')
      --depth;
  }
  return depth > levels;
}

std::optional<std::string_view> JsonScanner::take_value() {
  skip_space();
  const auto begin = at_;
  if (!skip_value(0)) return std::nullopt;
  return text_.substr(begin, at_ - begin);
}

std::optional<std::string_view> JsonScanner::take_string() {
  skip_space();
  const auto begin = at_;
  if (!skip_string()) return std::nullopt;
  return text_.substr(begin, at_ - begin);
}

bool JsonScanner::take(char wanted) noexcept {
  skip_space();
  if (peek() != wanted) return false;
  ++at_;
  return true;
}

bool JsonScanner::at_end() noexcept {
  skip_space();
  return at_ == text_.size();
}

bool JsonScanner::skip_value(int depth) {
  switch (peek()) {
    case '{':
    case '[':
      return depth < deepest && skip_container(depth);
    case '"':
      return skip_string();
    case 't':
      return skip_word("true");
    case 'f':
      return skip_word("false");
    case 'n':
      return skip_word("null");
    default:
      return skip_number();
  }
}

bool JsonScanner::skip_container(int depth) {
  const bool object = peek() == '{';
  const char end = object ? '}' : ']';
  ++at_;
  if (take(end)) return true;
  do {
    skip_space();
    if (object && (!skip_string() || !take(':'))) return false;
    skip_space();
    if (!skip_value(depth + 1)) return false;
  } while (take(','));
  return take(end);
}

bool JsonScanner::skip_string() {
  if (!skip_word("\"")) return false;
  for (;;) {
    while (at_ < text_.size() && is_plain(text_[at_])) ++at_;  // most of most strings
    if (at_ == text_.size()) return false;
    if (skip_word("\"")) return true;
    if (!(peek() == '\\' ? skip_escape() : skip_character())) return false;
  }
}

bool JsonScanner::skip_escape() noexcept {
  ++at_;
  for (const auto letter : {"\"", "\\", "/", "b", "f", "n", "r", "t"})
    if (skip_word(letter)) return true;
  unsigned unit = 0;
  const auto take_unit = [this, &unit] {  // four hexadecimal digits
    const auto digits = text_.substr(at_, 4);
    at_ += digits.size();
    const char* const end = digits.data() + digits.size();
    return digits.size() == 4 && std::from_chars(digits.data(), end, unit, 16).ptr == end;
  };
  if (!skip_word("u") || !take_unit() || (unit >= 0xdc00 && unit <= 0xdfff)) return false;
  if (unit < 0xd800 || unit > 0xdbff) return true;
  // The first half of a surrogate pair needs its second.
  return skip_word("\\u") && take_unit() && unit >= 0xdc00 && unit <= 0xdfff;
}

bool JsonScanner::skip_character() noexcept {
  if (byte(text_[at_]) < 0x20) return false;
  const auto length = utf8_length(text_.substr(at_));
  at_ += length;
  return length > 0;
}

bool JsonScanner::skip_number() noexcept {
  skip_word("-");
  if (!skip_word("0") && !skip_digits()) return false;
  if (skip_word(".") && !skip_digits()) return false;
  if (peek() == 'e' || peek() == 'E') {
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    if (!skip_digits()) return false;
  }
  return true;
}

bool JsonScanner::skip_digits() noexcept {
  const auto begin = at_;
  while (is_digit(peek())) ++at_;
  return at_ > begin;
}

bool JsonScanner::skip_word(std::string_view word) noexcept {
  if (!text_.substr(at_).starts_with(word)) return false;
  at_ += word.size();
  return true;
}

void JsonScanner::skip_space() noexcept {
  while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
}

}  // namespace tidings
