#include "event/cloudevents_attributes.hpp"

#include "event/json_scanner.hpp"

#include <algorithm>
#include <charconv>

namespace tidings {

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  };
  return std::ranges::equal(left, right, {}, lower, lower);
}

int parse_event_version(std::string_view text) {
  int version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Undecodable("ce-eventversion: \"" + std::string{text} + "\" is not a whole number of 32 bits");
  return version;
}

void require_object(const std::string& metadata, const char* attribute) {
  JsonScanner scanner{metadata};
  const auto value = scanner.take_value();
  if (!value || value->front() != '{' || !scanner.at_end())
    throw Undecodable(std::string(attribute) + ": is not a JSON object");
}

void require_specversion(std::string_view version) {
  if (!version.starts_with("1."))
    throw Undecodable("specversion: \"" + std::string{version} + "\" is not supported, expected 1.x");
}

void complete(Event& event, std::string_view message_id, std::string_view subject_type) {
  if (event.id.empty()) event.id = message_id;
  if (event.id.empty()) throw Undecodable("id: neither ce-id nor Nats-Msg-Id is there");
  if (event.type.empty()) event.type = subject_type;
  if (event.type.empty()) throw Undecodable("type: ce-type is missing");
  if (event.partition_key.empty()) event.partition_key = event.aggregate_id;
}

}  // namespace tidings
