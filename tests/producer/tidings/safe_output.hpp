#pragma once

// What a program prints must not steer the terminal, whatever others have written.

#include <algorithm>
#include <string>

namespace tidings::test {

/// A title, a cleared screen, a colour by a C1 control, text turned around, and a byte that is no UTF-8.
inline const std::string hostile_text =
    "\x1b]0;owned\x07\x1b[2J \xc2\x9b"
    "31m \xe2\x80\xae txt \x9b raw";

inline bool is_safe(const std::string& output) {
  const auto is_control = [](char letter) {
    const auto byte = static_cast<unsigned char>(letter);
    return (byte < 0x20 && letter != '\n') || byte == 0x7f;
  };
  return std::ranges::none_of(output, is_control) && output.find("\xe2\x80\xae") == std::string::npos &&
         output.find('\x9b') == std::string::npos;
}

}  // namespace tidings::test
