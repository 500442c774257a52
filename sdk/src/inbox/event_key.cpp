#include "inbox/event_key.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace tidings {
namespace {

std::string hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\\x";
  for (const char letter : bytes) {
    const auto byte = static_cast<unsigned char>(letter);
    text += {digits[byte >> 4U], digits[byte & 0xfU]};
  }
  return text;
}

}  // namespace

std::optional<std::string> uuid_bytes(const std::string& id) {
  if (id.size() != 36 || id.find_first_of("ABCDEF") != std::string::npos) return std::nullopt;
  std::string bytes;
  for (std::size_t at = 0; at < id.size(); at += 2) {
    const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
    if (dash && id[at++] != '-') return std::nullopt;
    unsigned char byte = 0;
    const char* const end = id.data() + at + 2;
    if (std::from_chars(id.data() + at, end, byte, 16).ptr != end) return std::nullopt;
    bytes += static_cast<char>(byte);
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
