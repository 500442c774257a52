#include "event/uuid_bytes.hpp"

#include <charconv>
#include <cstddef>

namespace tidings {

bool is_uuid(std::string_view id) noexcept {
  if (id.size() != 36) return false;
  for (std::size_t at = 0; at < id.size(); ++at) {
    const char letter = id[at];
    const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
    const bool digit = (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'f');
    if (dash ? letter != '-' : !digit) return false;
  }
  return true;
}

std::optional<std::string> uuid_bytes(std::string_view id) {
  if (!is_uuid(id)) return std::nullopt;
  std::string bytes;
  for (std::size_t at = 0; at < id.size(); at += 2) {
    if (id[at] == '-') ++at;
    const auto digits = id.substr(at, 2);
    unsigned char byte = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

std::optional<std::string> uuid_text(std::string_view bytes) {
  constexpr std::string_view hex = "0123456789abcdef";
  constexpr std::size_t version_at = 6, variant_at = 8;
  const auto byte = [bytes](std::size_t at) { return static_cast<unsigned char>(bytes[at]); };
  if (bytes.size() != 16) return std::nullopt;
  const auto version = byte(version_at) >> 4U;
  if (version < 1 || version > 8 || byte(variant_at) >> 6U != 2) return std::nullopt;
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (at == 4 || at == 6 || at == 8 || at == 10) text += '-';
    text += {hex[byte(at) >> 4U], hex[byte(at) & 0xfU]};
  }
  return text;
}

}  // namespace tidings
