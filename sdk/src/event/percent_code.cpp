#include "event/percent_code.hpp"

#include <algorithm>
#include <charconv>

namespace tidings {
namespace {

/// Everything but printable ASCII is encoded, and so are
/// space, the double quote and the percent sign itself.
bool plain(char letter) { return letter > ' ' && letter <= '~' && letter != '"' && letter != '%'; }

}  // namespace

void append_percent_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  if (std::all_of(text.begin(), text.end(), plain)) {
    out.append(text);
    return;
  }
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (plain(letter)) {
      out += letter;
    } else {
      out += {'%', hex[byte >> 4U], hex[byte & 0xfU]};
    }
  }
}

void percent_decode(std::string_view text, std::string& out) {
  if (text.find('%') == std::string_view::npos) {
    out = text;
    return;
  }
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, code, 16).ptr == digits + 2) {
      out += static_cast<char>(code);
      i += 2;
    } else {
      out += text[i];
    }
  }
}

}  // namespace tidings
