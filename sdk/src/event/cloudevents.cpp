// CloudEvents on NATS: binary mode (attributes in headers, the data as payload) and structured mode
// (attributes and data in one JSON document). What is wrong with an event throws Undecodable, naming the
// attribute.

#include "event/json_scanner.hpp"
#include "event/redrive_headers.hpp"
#include "event/structured_data.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>

namespace tidings {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view structured_type = "application/cloudevents+json";
constexpr int deepest_nesting = 1000;

struct TextAttribute {
  std::string_view header;  ///< in binary mode; in structured mode without the "ce-"
  std::string Event::*value;
};

/// In wire order. Any text is valid for these.
constexpr std::array text_attributes{
    TextAttribute{"ce-id", &Event::id},
    TextAttribute{"ce-type", &Event::type},
    TextAttribute{"ce-source", &Event::source},
    TextAttribute{"ce-subject", &Event::aggregate_id},
    TextAttribute{"ce-time", &Event::time},
    TextAttribute{"ce-aggregatetype", &Event::aggregate_type},
    TextAttribute{"ce-partitionkey", &Event::partition_key},
};

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
    throw Undecodable("ce-eventversion: \"" + std::string{text} + "\" is not a 32-bit integer");
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

/// Fills in what a sender may leave out, and rejects events that lack what has no default.
void complete(Event& event, const Headers& headers, std::string_view subject_type) {
  if (event.id.empty()) event.id = header(headers, redrive_headers::original_id);
  if (event.id.empty()) event.id = header(headers, "Nats-Msg-Id");
  if (event.id.empty()) throw Undecodable("id: neither ce-id nor Nats-Msg-Id is there");
  if (event.type.empty()) event.type = subject_type;
  if (event.type.empty()) throw Undecodable("type: is missing");
  if (event.partition_key.empty()) event.partition_key = event.aggregate_id;
}

/// In headers, CloudEvents percent-encodes space, double quote, percent sign and all but printable ASCII.
bool is_plain(char letter) { return letter > ' ' && letter <= '~' && letter != '"' && letter != '%'; }

void append_percent_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  if (std::ranges::all_of(text, is_plain)) {
    out.append(text);
    return;
  }
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (is_plain(letter))
      out += letter;
    else
      out += {'%', hex[byte >> 4U], hex[byte & 0xfU]};
  }
}

/// A percent sign that does not start an escape is kept: not every sender encodes.
void percent_decode(std::string_view text, std::string& out) {
  if (text.find('%') == std::string_view::npos) {
    out = text;
    return;
  }
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, code, 16).ptr == digits + 2) {
      out += static_cast<char>(code);
      i += 2;
    } else {
      out += text[i];
    }
  }
}

/// For a value that goes out as it is: nats.c takes a line break for the next header and trims spaces.
void require_header_safe(const char* attribute, const std::string& value) {
  const auto is_control = [](char letter) {
    return static_cast<unsigned char>(letter) < ' ' || letter == '\x7f';
  };
  if (std::ranges::any_of(value, is_control))
    throw Undecodable(std::string(attribute) + ": has a control character");
  if (value.starts_with(' ') || value.ends_with(' '))
    throw Undecodable(std::string(attribute) + ": begins or ends with a space");
}

/// On one line and in ASCII, as a header must be. Text that is so already is sent unchanged.
void append_metadata(std::string& out, const std::string& metadata) {
  if (std::ranges::all_of(metadata, [](char letter) { return letter >= ' ' && letter <= '~'; })) {
    out.append(metadata);
    return;
  }
  const auto json = nlohmann::ordered_json::parse(metadata, nullptr, false);
  if (!json.is_object()) throw Undecodable("metadata: is not a JSON object");
  out.append(json.dump(-1, ' ', true));
}

/// Overwrites the headers of an earlier message, so that their memory is used again. Empty attributes are
/// left out: nats.c misreads headers without a value.
void encode_headers(const Event& event, Headers& headers) {
  if (event.id.empty()) throw Undecodable("id: is empty");
  std::size_t used = 0;
  const auto add = [&headers, &used](std::string_view name) -> std::string& {
    if (used == headers.size()) headers.emplace_back();
    auto& [its_name, value] = headers[used++];
    its_name = name;
    value.clear();
    return value;
  };
  const auto add_unchanged = [&add](std::string_view name, const char* attribute, const std::string& value) {
    require_header_safe(attribute, value);
    if (!value.empty()) add(name) = value;
  };
  add_unchanged("Nats-Msg-Id", "id", event.id);
  add("ce-specversion") = "1.0";
  for (const auto& attribute : text_attributes)
    if (const auto& text = event.*attribute.value; !text.empty())
      append_percent_encoded(add(attribute.header), text);
  add_unchanged("content-type", "datacontenttype", event.content_type);
  if (event.content_type.empty()) add("content-type") = "application/json";
  add("ce-eventversion") = std::to_string(event.version);
  if (!event.metadata.empty()) append_metadata(add("ce-metadata"), event.metadata);
  add_unchanged("traceparent", "traceparent", event.traceparent);
  add_unchanged("tracestate", "tracestate", event.tracestate);
  headers.resize(used);
}

/// Resets it, but keeps the capacity of its strings.
void clear(Event& event) {
  for (const auto& attribute : text_attributes) (event.*attribute.value).clear();
  for (auto* text : {&event.traceparent, &event.tracestate, &event.data, &event.content_type}) text->clear();
  event.metadata = "{}";
  event.version = 1;
}

void decode_headers(const Headers& headers, std::string_view subject_type, Event& event) {
  clear(event);
  for (const auto& [name, value] : headers) {
    const auto is = [&name = name](std::string_view wanted) { return equal_ignoring_case(name, wanted); };
    const auto attribute = std::ranges::find_if(text_attributes, is, &TextAttribute::header);
    if (attribute != text_attributes.end()) {
      percent_decode(value, event.*attribute->value);
    } else if (is("content-type")) {
      if (!is_json(value)) event.content_type = value;
    } else if (is("ce-eventversion")) {
      event.version = parse_event_version(value);
    } else if (is("ce-metadata")) {
      event.metadata = value;
      require_object(event.metadata, "ce-metadata");
    } else if (is("ce-specversion")) {
      require_specversion(value);
    } else if (is("traceparent")) {
      event.traceparent = value;
    } else if (is("tracestate")) {
      event.tracestate = value;
    }
  }
  complete(event, headers, subject_type);
}

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

/// The parser accepts any depth, but writing `data` as text again recurses once per level.
bool refuse_deep_nesting(int depth, Json::parse_event_t, Json&) {
  if (depth > deepest_nesting)
    throw Undecodable("payload: is nested deeper than " + std::to_string(deepest_nesting) + " levels");
  return true;
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
  Event event;
  for (const auto& attribute : text_attributes)
    event.*attribute.value = text_member(document, std::string{attribute.header.substr(3)});
  event.version = version_member(document);
  event.metadata = metadata_member(document);
  event.traceparent = text_member(document, "traceparent");
  event.tracestate = text_member(document, "tracestate");
  read_structured_data(document, event);
  complete(event, headers, subject_type);
  return event;
}

}  // namespace

std::string_view header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (equal_ignoring_case(key, name)) return value;
  return {};
}

nlohmann::json Event::json() const {
  try {
    return nlohmann::json::parse(data);
  } catch (const nlohmann::json::exception& error) {
    throw Undecodable(std::string("data: is not JSON: ") + error.what());
  }
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
