#include "event/attributes.hpp"

#include "event/json_scanner.hpp"
#include "event/redrive_headers.hpp"

#include <algorithm>
#include <charconv>

namespace tidings {

bool is_json(std::string_view content_type) {
  if (content_type == "application/json") return true;  // as nearly all have it
  std::string media_type{content_type.substr(0, content_type.find_first_of("; "))};
  std::ranges::transform(media_type, media_type.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  });
  return media_type.empty() || media_type.ends_with("/json") || media_type.ends_with("+json");
}

int parse_event_version(std::string_view text) {
  int version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Undecodable("ce-eventversion: \"" + std::string{text} + "\" is not a 32-bit integer");
  return version;
}

void require_object(const std::string& metadata, const char* attribute) {
  JsonScanner scanner{metadata};
  const auto value = scanner.take_value();
  if (value && value->front() == '{' && scanner.at_end()) return;
  require_flat(metadata, attribute);
  throw Undecodable(std::string(attribute) + ": is not a JSON object");
}

void require_specversion(std::string_view version) {
  if (!version.starts_with("1."))
    throw Undecodable("specversion: \"" + std::string{version} + "\" is not supported, expected 1.x");
}

void require_flat(std::string_view json, const char* attribute) {
  if (nests_deeper(json, JsonScanner::deepest))
    throw Undecodable(std::string(attribute) + ": is nested deeper than " +
                      std::to_string(JsonScanner::deepest) + " levels");
}

void complete(Event& event, const Headers& headers, const StandIns& stand_ins) {
  if (event.id.empty()) event.id = header(headers, redrive_headers::original_id);
  if (event.id.empty()) event.id = header(headers, "Nats-Msg-Id");
  if (event.id.empty() && !stand_ins.stream.empty())
    event.id = std::string{stand_ins.stream} + ':' + std::to_string(stand_ins.sequence) + ':' +
               std::to_string(stand_ins.stored_at_ns);
  if (event.id.empty()) throw Undecodable("id: neither ce-id nor Nats-Msg-Id is there");
  if (event.type.empty()) event.type = stand_ins.type;
  if (event.type.empty()) throw Undecodable("type: is missing");
  if (event.partition_key.empty()) event.partition_key = event.aggregate_id;
}

}  // namespace tidings
