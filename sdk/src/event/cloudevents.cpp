#include "event/cloudevents.hpp"

#include "event/json_scanner.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace tidings {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view structured_type = "application/cloudevents+json";
constexpr int deepest_nesting = 1000;

std::string text_member(const Json& document, const std::string& name) {
  const auto member = document.find(name);
  if (member == document.end() || member->is_null()) return {};
  if (!member->is_string()) throw Undecodable(name + ": is not a string");
  return member->get<std::string>();
}

int version_member(const Json& document) {
  const auto member = document.find("eventversion");
  if (member == document.end()) return 1;
  return parse_event_version(member->is_number_integer() ? member->dump()
                                                         : text_member(document, "eventversion"));
}

/// In CloudEvents, an extension attribute is a string; many senders write an object all the same.
std::string metadata_member(const Json& document) {
  const auto member = document.find("metadata");
  if (member == document.end() || member->is_null()) return "{}";
  auto metadata = member->is_string() ? member->get<std::string>() : member->dump();
  require_object(metadata, "metadata");
  return metadata;
}

/// Parsing takes any depth, but writing `data` as text again takes stack for each level of it.
bool refuse_deep_nesting(int depth, Json::parse_event_t, Json&) {
  if (depth > deepest_nesting)
    throw Undecodable("payload: is nested deeper than " + std::to_string(deepest_nesting) + " levels");
  return true;
}

}  // namespace

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

bool is_structured(const Headers& headers) {
  const auto content_type = header(headers, "content-type").substr(0, structured_type.size());
  return equal_ignoring_case(content_type, structured_type);
}

Event decode_structured(const Headers& headers, std::string_view payload, std::string_view subject_type) {
  const auto document = Json::parse(payload, refuse_deep_nesting, false);
  if (!document.is_object())
    throw Undecodable("payload: is not a JSON object, as structured CloudEvents must be");
  require_specversion(text_member(document, "specversion"));
  if (document.contains("data_base64")) throw Undecodable("data_base64: is not supported, send JSON in data");
  Event event;
  for (const auto& attribute : text_attributes)
    event.*attribute.value = text_member(document, attribute.name());
  event.version = version_member(document);
  event.metadata = metadata_member(document);
  event.traceparent = text_member(document, "traceparent");
  event.tracestate = text_member(document, "tracestate");
  if (const auto data = document.find("data"); data != document.end()) event.data = data->dump();
  complete(event, header(headers, "Nats-Msg-Id"), subject_type);
  return event;
}

}  // namespace tidings
