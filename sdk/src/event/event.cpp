#include "event/json_scanner.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace tidings {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view structured_type = "application/cloudevents+json";
constexpr int deepest_nesting = 1000;

char lower(char letter) {
  return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
}

bool equal_ignoring_case(std::string_view left, std::string_view right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

/// CloudEvents' rule for header values: everything but printable ASCII is percent-encoded, and
/// so are space, the double quote and the percent sign itself.
bool plain(char letter) { return letter > ' ' && letter <= '~' && letter != '"' && letter != '%'; }

void append_percent_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  if (std::all_of(text.begin(), text.end(), plain)) {
    out.append(text);
    return;
  }
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (plain(letter)) {
      out += letter;
    } else {
      out += {'%', hex[byte >> 4U], hex[byte & 0xfU]};
    }
  }
}

/// A percent sign that starts no code is taken as it is, since not every sender encodes.
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

/// A value that goes out as it is: nats.c would take a line break in it for the next header, and trims
/// spaces when reading.
const std::string& header_safe(const char* attribute, const std::string& value) {
  const auto control = [](char letter) {
    return static_cast<unsigned char>(letter) < ' ' || letter == '\x7f';
  };
  const auto wrong = [attribute](const char* what) {
    return Undecodable(std::string(attribute) + ": " + what);
  };
  if (std::any_of(value.begin(), value.end(), control)) throw wrong("has a control character");
  if (!value.empty() && (value.front() == ' ' || value.back() == ' '))
    throw wrong("begins or ends with a space");
  return value;
}

/// On one line and in ASCII, as a header must be. What is so already goes out byte for byte.
void append_metadata(std::string& out, const std::string& metadata) {
  const auto one_line_ascii = [](char letter) { return letter >= ' ' && letter <= '~'; };
  if (std::all_of(metadata.begin(), metadata.end(), one_line_ascii)) {
    out.append(metadata);
    return;
  }
  const auto json = Json::parse(metadata, nullptr, false);
  if (!json.is_object()) throw Undecodable("metadata: is no JSON object");
  out.append(json.dump(-1, ' ', true));
}

/// Writes headers over those of an earlier message, so that their memory is used again.
class HeaderWriter {
 public:
  explicit HeaderWriter(Headers& headers) : headers_(headers) {}
  ~HeaderWriter() { headers_.resize(used_); }
  HeaderWriter(const HeaderWriter&) = delete;
  HeaderWriter& operator=(const HeaderWriter&) = delete;

  void add(const char* name, std::string_view value) { next(name).append(value); }
  void add_encoded(const char* name, std::string_view value) {
    // nats.c misreads headers without a value, so an empty attribute is left out.
    if (!value.empty()) append_percent_encoded(next(name), value);
  }
  void add_safe(const char* name, const char* attribute, const std::string& value) {
    if (!value.empty()) next(name).append(header_safe(attribute, value));
  }
  void add_metadata(const char* name, const std::string& metadata) {
    if (!metadata.empty()) append_metadata(next(name), metadata);
  }

 private:
  std::string& next(const char* name) {
    if (used_ == headers_.size()) headers_.emplace_back();
    auto& [its_name, value] = headers_[used_++];
    its_name = name;
    value.clear();
    return value;
  }

  Headers& headers_;
  std::size_t used_ = 0;
};

int parse_version(std::string_view text) {
  int version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Undecodable("ce-eventversion: \"" + std::string{text} + "\" is no whole number of 32 bits");
  return version;
}

void require_object(const std::string& metadata, const char* attribute) {
  JsonScanner scanner{metadata};
  const auto value = scanner.take_value();
  if (!value || value->front() != '{' || !scanner.at_end())
    throw Undecodable(std::string(attribute) + ": is no JSON object");
}

void require_specversion(std::string_view version) {
  if (!version.starts_with("1."))
    throw Undecodable("specversion: \"" + std::string{version} + "\" is not supported, only 1.0");
}

/// Fills in what a sender may leave out, and refuses what nothing can stand in for.
void complete(Event& event, std::string_view message_id, std::string_view subject_type) {
  if (event.id.empty()) event.id = message_id;
  if (event.id.empty()) throw Undecodable("id: neither ce-id nor Nats-Msg-Id is there");
  if (event.type.empty()) event.type = subject_type;
  if (event.type.empty()) throw Undecodable("type: ce-type is missing");
  if (event.partition_key.empty()) event.partition_key = event.aggregate_id;
}

/// As a new one, but for the memory of its texts.
void clear(Event& event) {
  for (auto* text : {&event.id, &event.type, &event.source, &event.aggregate_id, &event.aggregate_type,
                     &event.time, &event.partition_key, &event.traceparent, &event.tracestate, &event.data})
    text->clear();
  event.metadata = "{}";
  event.version = 1;
}

void decode_binary(const Headers& headers, std::string_view payload, std::string_view subject_type,
                   Event& event) {
  clear(event);
  std::string_view message_id;
  for (const auto& [name, value] : headers) {
    const auto is = [&name = name](std::string_view wanted) { return equal_ignoring_case(name, wanted); };
    if (is("Nats-Msg-Id")) {
      message_id = value;
    } else if (is("ce-id")) {
      percent_decode(value, event.id);
    } else if (is("ce-type")) {
      percent_decode(value, event.type);
    } else if (is("ce-source")) {
      percent_decode(value, event.source);
    } else if (is("ce-subject")) {
      percent_decode(value, event.aggregate_id);
    } else if (is("ce-time")) {
      event.time = value;
    } else if (is("ce-aggregatetype")) {
      percent_decode(value, event.aggregate_type);
    } else if (is("ce-eventversion")) {
      event.version = parse_version(value);
    } else if (is("ce-partitionkey")) {
      percent_decode(value, event.partition_key);
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
  complete(event, message_id, subject_type);
  event.data = payload;
}

std::string text_member(const Json& document, const char* name) {
  const auto member = document.find(name);
  if (member == document.end() || member->is_null()) return {};
  if (!member->is_string()) throw Undecodable(std::string(name) + ": is no text");
  return member->get<std::string>();
}

int version_member(const Json& document) {
  const auto member = document.find("eventversion");
  if (member == document.end()) return 1;
  return parse_version(member->is_number_integer() ? member->dump() : text_member(document, "eventversion"));
}

/// An extension attribute is a text in CloudEvents; an object is what senders write anyway.
std::string metadata_member(const Json& document) {
  const auto member = document.find("metadata");
  if (member == document.end() || member->is_null()) return "{}";
  auto metadata = member->is_string() ? member->get<std::string>() : member->dump();
  require_object(metadata, "metadata");
  return metadata;
}

/// Reading goes any depth, but writing `data` as text again takes stack for each level of it.
bool refuse_deep_nesting(int depth, Json::parse_event_t, Json&) {
  if (depth > deepest_nesting)
    throw Undecodable("payload: is nested deeper than " + std::to_string(deepest_nesting) + " levels");
  return true;
}

Event decode_structured(const Headers& headers, std::string_view payload, std::string_view subject_type) {
  const auto document = Json::parse(payload, refuse_deep_nesting, false);
  if (!document.is_object())
    throw Undecodable("payload: is no JSON object, as structured CloudEvents must be");
  require_specversion(text_member(document, "specversion"));
  if (document.contains("data_base64")) throw Undecodable("data_base64: is not supported, send JSON in data");
  Event event;
  event.id = text_member(document, "id");
  event.type = text_member(document, "type");
  event.source = text_member(document, "source");
  event.aggregate_id = text_member(document, "subject");
  event.time = text_member(document, "time");
  event.aggregate_type = text_member(document, "aggregatetype");
  event.version = version_member(document);
  event.partition_key = text_member(document, "partitionkey");
  event.metadata = metadata_member(document);
  event.traceparent = text_member(document, "traceparent");
  event.tracestate = text_member(document, "tracestate");
  if (const auto data = document.find("data"); data != document.end()) event.data = data->dump();
  complete(event, header(headers, "Nats-Msg-Id"), subject_type);
  return event;
}

}  // namespace

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
  if (event.id.empty()) throw Undecodable("id: is empty");
  HeaderWriter headers{out.headers};
  headers.add_safe("Nats-Msg-Id", "id", event.id);
  headers.add("ce-specversion", "1.0");
  headers.add_encoded("ce-id", event.id);
  headers.add_encoded("ce-type", event.type);
  headers.add_encoded("ce-source", event.source);
  headers.add_encoded("ce-subject", event.aggregate_id);
  headers.add_safe("ce-time", "time", event.time);
  headers.add("content-type", "application/json");
  headers.add_encoded("ce-aggregatetype", event.aggregate_type);
  headers.add("ce-eventversion", std::to_string(event.version));
  headers.add_encoded("ce-partitionkey", event.partition_key);
  headers.add_metadata("ce-metadata", event.metadata);
  headers.add_safe("traceparent", "traceparent", event.traceparent);
  headers.add_safe("tracestate", "tracestate", event.tracestate);
  out.payload = event.data;
}

Event decode(const Headers& headers, std::string_view payload, std::string_view subject_type) {
  Event event;
  decode(headers, payload, subject_type, event);
  return event;
}

void decode(const Headers& headers, std::string_view payload, std::string_view subject_type, Event& out) {
  const auto content_type = header(headers, "content-type").substr(0, structured_type.size());
  if (equal_ignoring_case(content_type, structured_type))
    out = decode_structured(headers, payload, subject_type);
  else
    decode_binary(headers, payload, subject_type, out);
}

}  // namespace tidings
