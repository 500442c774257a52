#include "event/ascii_json.hpp"

#include <array>
#include <cstddef>

namespace tidings {
namespace {

bool is_space(char letter) { return letter == ' ' || letter == '\n' || letter == '\r' || letter == '\t'; }
bool is_printable_ascii(char letter) { return letter >= ' ' && letter <= '~'; }
unsigned bits(char letter, unsigned mask) { return static_cast<unsigned char>(letter) & mask; }

void append_escape(std::string& out, unsigned unit) {
  constexpr std::string_view hex = "0123456789abcdef";
  out += "\\u";
  for (const unsigned shift : std::array{12U, 8U, 4U, 0U}) out += hex[(unit >> shift) & 0xfU];
}

/// Appends the character that `text` begins with as escapes; returns how many bytes it has.
std::size_t append_escaped(std::string& out, std::string_view text) {
  const char first = text.front();
  const std::size_t length = bits(first, 0x80) == 0   ? 1
                             : bits(first, 0x20) == 0 ? 2
                             : bits(first, 0x10) == 0 ? 3
                                                      : 4;
  unsigned code = length == 1 ? bits(first, 0x7f) : bits(first, 0x7fU >> length);
  for (const char letter : text.substr(1, length - 1)) code = code << 6U | bits(letter, 0x3f);
  constexpr unsigned first_pair = 0x10000;
  if (code < first_pair) {
    append_escape(out, code);
  } else {
    append_escape(out, 0xd800U | (code - first_pair) >> 10U);
    append_escape(out, 0xdc00U | ((code - first_pair) & 0x3ffU));
  }
  return length;
}

}  // namespace

void append_ascii_json(std::string& out, std::string_view json) {
  bool in_string = false;
  for (std::size_t at = 0; at < json.size();) {
    const char letter = json[at];
    if (in_string && letter == '\\') {
      out.append(json.substr(at, 2));
      at += 2;
    } else if (in_string && !is_printable_ascii(letter)) {
      at += append_escaped(out, json.substr(at));
    } else {
      if (letter == '"') in_string = !in_string;
      if (in_string || !is_space(letter)) out += letter;
      ++at;
    }
  }
}

}  // namespace tidings
