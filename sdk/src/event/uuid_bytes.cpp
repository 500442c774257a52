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

}  // namespace tidings
