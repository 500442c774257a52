#include "event/cloudevents_attributes.hpp"
#include "event/cloudevents_headers.hpp"
#include "event/cloudevents_structured.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

namespace tidings {

nlohmann::json Event::json() const {
  try {
    return nlohmann::json::parse(data);
  } catch (const nlohmann::json::exception& error) {
    throw Undecodable(std::string("data: is no JSON: ") + error.what());
  }
}

std::string_view header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (equal_ignoring_case(key, name)) return value;
  return {};
}

WireMessage encode(const Event& event) {
  WireMessage message;
  encode(event, message);
  return message;
}

void encode(const Event& event, WireMessage& out) {
  encode_headers(event, out.headers);
  out.payload = event.data;
}

Event decode(const Headers& headers, std::string_view payload, std::string_view subject_type) {
  Event event;
  decode(headers, payload, subject_type, event);
  return event;
}

void decode(const Headers& headers, std::string_view payload, std::string_view subject_type, Event& out) {
  if (is_structured(headers)) {
    out = decode_structured(headers, payload, subject_type);
  } else {
    decode_headers(headers, subject_type, out);
    out.data = payload;
  }
}

}  // namespace tidings
