// CloudEvents on NATS: binary mode (attributes in headers, the data as payload) and structured mode
// (attributes and data in one JSON document). What is wrong with an event throws Undecodable, naming the
// attribute.

#include "event/ascii_json.hpp"
#include "event/attributes.hpp"
#include "event/structured_event.hpp"
#include "event/uuid_bytes.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

constexpr std::string_view structured_type = "application/cloudevents+json";

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  const auto lower = [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  };
  return std::ranges::equal(left, right, {}, lower, lower);
}

bool is_structured(std::string_view content_type) {
  return equal_ignoring_case(content_type.substr(0, structured_type.size()), structured_type);
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

/// What a stream knows a message by. Two sources may give the same id, unless it is a UUID.
void append_message_id(std::string& out, const Event& event) {
  if (!event.source.empty() && !is_uuid(event.id)) {
    append_percent_encoded(out, event.source);
    out += '/';
  }
  out += event.id;
}

/// On one line and in ASCII, as a header must be. Text that is so already is sent unchanged.
void append_metadata(std::string& out, const std::string& metadata) {
  if (std::ranges::all_of(metadata, [](char letter) { return letter >= ' ' && letter <= '~'; })) {
    out.append(metadata);
    return;
  }
  require_object(metadata, "metadata");
  append_ascii_json(out, metadata);
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
  require_header_safe("id", event.id);
  append_message_id(add("Nats-Msg-Id"), event);
  add("ce-specversion") = "1.0";
  for (const auto& attribute : text_attributes)
    if (const auto& text = event.*attribute.value; !text.empty())
      append_percent_encoded(add(attribute.header), text);
  if (is_structured(event.content_type))
    throw Undecodable("datacontenttype: is that of a whole event: " + event.content_type);
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

void decode_headers(const Headers& headers, const StandIns& stand_ins, Event& event) {
  clear(event);
  bool has_type = false;  // the first one counts, as for what is structured
  for (const auto& [name, value] : headers) {
    const auto is = [&name = name](std::string_view wanted) { return equal_ignoring_case(name, wanted); };
    const auto attribute = std::ranges::find_if(text_attributes, is, &TextAttribute::header);
    if (attribute != text_attributes.end()) {
      percent_decode(value, event.*attribute->value);
    } else if (is("content-type")) {
      if (!std::exchange(has_type, true) && !is_json(value)) event.content_type = value;
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
  complete(event, headers, stand_ins);
}

bool is_structured(const Headers& headers) { return is_structured(header(headers, "content-type")); }

}  // namespace

std::string_view header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (equal_ignoring_case(key, name)) return value;
  return {};
}

nlohmann::json Event::json() const {
  require_flat(data, "data");
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
  decode(headers, payload, StandIns{.type = subject_type}, out);
}

void decode(const Headers& headers, std::string_view payload, const StandIns& stand_ins, Event& out) {
  if (is_structured(headers)) {
    out = decode_structured(headers, payload, stand_ins);
  } else {
    decode_headers(headers, stand_ins, out);
    out.data = payload;
  }
}

}  // namespace tidings
