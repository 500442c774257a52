#include "inbox/event_key.hpp"

#include "event/uuid_bytes.hpp"

namespace tidings {
namespace {

/// The source's length says where it ends. Its leading zeros make the key longer than a UUID's, and the byte
/// before it tells the key from an id's text.
std::string join(const EventIdentity& event) {
  constexpr std::size_t digits = 15;
  const auto length = std::to_string(event.source.size());
  std::string key = '\1' + std::string(digits - length.size(), '0') + length;
  return key.append(event.source).append(event.id);
}

}  // namespace

EventKey::EventKey(const EventIdentity& event) {
  if (auto bytes = uuid_bytes(event.id)) {
    id = *std::move(bytes);
    return;
  }
  id = event.id;
  source = event.source;
  source_and_id = join(event);
}

std::string bytea(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\\x";
  for (const char letter : bytes) {
    const auto byte = static_cast<unsigned char>(letter);
    text += digits[byte >> 4U];
    text += digits[byte & 0xfU];
  }
  return text;
}

std::optional<std::string> bytea_or_null(const std::optional<std::string>& bytes) {
  if (!bytes) return std::nullopt;
  return bytea(std::string_view{*bytes});
}

std::string bytea_id(const EventKey& key) {
  if (key.is_uuid()) return bytea(key.id);
  auto text = std::string(1, '\0') + key.id;
  if (text.size() == 16) text += '\0';  // no UUID is as long
  return bytea(text);
}

std::string bytea_array(const std::vector<std::optional<std::string>>& texts) {
  std::string array = "{";
  for (const auto& text : texts) {
    if (array.size() > 1) array += ',';
    array += text ? "\"\\" + *text + '"' : "NULL";
  }
  return array + "}";
}

}  // namespace tidings
