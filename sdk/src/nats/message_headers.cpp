#include "nats/message_headers.hpp"

#include <cstdlib>
#include <cstring>

namespace tidings {
namespace {

constexpr std::string_view line_end = "\r\n";
constexpr std::string_view version = "NATS/1.0";
constexpr std::ptrdiff_t longest_block = 1 << 20;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// nats.c keeps a received message in one block: subject, reply, headers, payload, a NUL behind each
/// (3.0 to 3.12, see msg.h). Empty when the block does not look like that.
std::string_view header_block(natsMsg* message) {
  const char* const reply = natsMsg_GetReply(message);
  if (reply == nullptr) return {};
  const char* const begin = reply + std::strlen(reply) + 1;
  const char* const end = natsMsg_GetData(message) - 1;  // the NUL behind the headers
  const auto size = end - begin;
  if (size <= static_cast<std::ptrdiff_t>(version.size()) || size > longest_block || *end != '\0') return {};
  return {begin, static_cast<std::size_t>(size)};
}

void read_from_table(natsMsg* message, Headers& headers) {
  const char** names = nullptr;
  int count = 0;
  if (natsMsgHeader_Keys(message, &names, &count) != NATS_OK) return headers.clear();  // it has none
  headers.resize(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    const char* value = nullptr;
    auto& [its_name, its_value] = headers[static_cast<std::size_t>(i)];
    its_name = names[i];
    its_value = natsMsgHeader_Get(message, names[i], &value) == NATS_OK && value != nullptr ? value : "";
  }
  std::free(static_cast<void*>(names));
}

}  // namespace

void read_headers(natsMsg* message, Headers& headers) {
  if (!parse_headers(header_block(message), headers)) read_from_table(message, headers);
}

std::size_t header_bytes(natsMsg* message) { return header_block(message).size(); }

bool parse_headers(std::string_view block, Headers& headers) {
  if (!block.starts_with(version)) return false;
  auto end = block.find(line_end);
  if (end == std::string_view::npos) return false;
  block.remove_prefix(end + line_end.size());
  std::size_t count = 0;
  while ((end = block.find(line_end)) != std::string_view::npos) {
    const auto line = block.substr(0, end);
    block.remove_prefix(end + line_end.size());
    if (line.empty()) {
      headers.resize(count);
      return block.empty();
    }
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0 || line.front() == ' ' || line.front() == '\t')
      return false;
    if (count == headers.size()) headers.emplace_back();
    auto& [name, value] = headers[count++];
    name = line.substr(0, colon);
    value = trimmed(line.substr(colon + 1));
  }
  return false;
}

}  // namespace tidings
