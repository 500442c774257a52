#include "inbox/event_key.hpp"

namespace tidings {
namespace {

std::optional<unsigned> hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return static_cast<unsigned>(letter - '0');
  if (letter >= 'a' && letter <= 'f') return static_cast<unsigned>(letter - 'a') + 10U;
  return std::nullopt;
}

}  // namespace

std::optional<std::array<unsigned char, 16>> uuid_bytes(const std::string& id) {
  std::array<unsigned char, 16> bytes{};
  if (id.size() != 36) return std::nullopt;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < id.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (id[i] != '-') return std::nullopt;
      continue;
    }
    const auto digit = hex_digit(id[i]);
    if (!digit) return std::nullopt;
    auto& byte = bytes[digits++ / 2];
    byte = static_cast<unsigned char>((static_cast<unsigned>(byte) << 4U) | *digit);
  }
  return bytes;
}

}  // namespace tidings
