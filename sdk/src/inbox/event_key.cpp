#include "inbox/event_key.hpp"

#include <algorithm>
#include <string_view>

namespace tidings {
namespace {

std::optional<unsigned> hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return static_cast<unsigned>(letter - '0');
  if (letter >= 'a' && letter <= 'f') return static_cast<unsigned>(letter - 'a') + 10U;
  return std::nullopt;
}

std::string hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\\x";
  for (const char letter : bytes) {
    const auto byte = static_cast<unsigned char>(letter);
    text += digits[byte >> 4U];
    text += digits[byte & 0xfU];
  }
  return text;
}

}  // namespace

std::optional<std::string> uuid_bytes(const std::string& id) {
  if (id.size() != 36) return std::nullopt;
  std::string bytes(16, '\0');
  std::size_t digits = 0;
  for (std::size_t i = 0; i < id.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (id[i] != '-') return std::nullopt;
      continue;
    }
    const auto digit = hex_digit(id[i]);
    if (!digit) return std::nullopt;
    auto& byte = bytes[digits++ / 2];
    byte = static_cast<char>((static_cast<unsigned char>(byte) << 4U) | *digit);
  }
  return bytes;
}

std::string bytea_key(const std::string& event_id) {
  if (const auto bytes = uuid_bytes(event_id)) return hex(*bytes);
  auto text = std::string(1, '\0') + event_id;
  if (text.size() == 16) text += '\0';  // no UUID is as long
  return hex(text);
}

std::string bytea_array(std::vector<std::string> keys) {
  std::sort(keys.begin(), keys.end());
  std::string text = "{";
  for (const auto& one : keys) text += (text.size() > 1 ? ",\"\\" : "\"\\") + one + "\"";
  return text + "}";
}

}  // namespace tidings
