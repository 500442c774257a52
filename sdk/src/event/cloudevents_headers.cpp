#include "event/cloudevents_headers.hpp"

#include "event/cloudevents_attributes.hpp"
#include "event/percent_code.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tidings {
namespace {

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
  const auto json = nlohmann::ordered_json::parse(metadata, nullptr, false);
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

/// As a new one, but for the memory of its texts.
void clear(Event& event) {
  for (auto* text : {&event.id, &event.type, &event.source, &event.aggregate_id, &event.aggregate_type,
                     &event.time, &event.partition_key, &event.traceparent, &event.tracestate, &event.data})
    text->clear();
  event.metadata = "{}";
  event.version = 1;
}

}  // namespace

void encode_headers(const Event& event, Headers& out) {
  if (event.id.empty()) throw Undecodable("id: is empty");
  HeaderWriter headers{out};
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
}

void decode_headers(const Headers& headers, std::string_view subject_type, Event& event) {
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
      event.version = parse_event_version(value);
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
}

}  // namespace tidings
