// Whatever arrives from a stream or stands in a table: it is read or refused, never worse.
// An input is header lines, an empty line, and a payload. See scripts/fuzz.

#include "event/json_scanner.hpp"
#include "nats/acknowledgement.hpp"
#include "nats/message_headers.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

using namespace tidings;

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// Takes lines `name: value` off `text`, up to an empty one.
Headers take_headers(std::string_view& text) {
  Headers headers;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) break;
    const auto colon = std::min(line.find(": "), line.size());
    headers.emplace_back(line.substr(0, colon), line.substr(std::min(colon + 2, line.size())));
  }
  return headers;
}

void check_event(const Headers& headers, std::string_view payload) {
  Event event;
  try {
    event = decode(headers, payload, "fuzz.type");
  } catch (const Undecodable&) {
    return;
  }
  require(!event.id.empty() && !event.type.empty(), "an event has an id and a type");
  JsonScanner metadata{event.metadata};
  require(metadata.take('{'), "metadata is a JSON object");
  WireMessage wire;
  try {
    wire = encode(event);
  } catch (const Undecodable&) {
    return;  // an id that cannot be a header value
  }
  for (const auto& [name, value] : wire.headers)
    require(!value.empty() && value.find_first_of("\r\n") == std::string::npos, "a header is one line");
  const auto again = decode(wire.headers, wire.payload);
  require(again.id == event.id && again.type == event.type && again.source == event.source &&
              again.aggregate_id == event.aggregate_id && again.aggregate_type == event.aggregate_type &&
              again.version == event.version && again.data == event.data,
          "what is encoded is decoded to the same event");
}

/// What a sender puts on the wire is read back; what is no block of headers is refused.
void check_header_block(const Headers& headers, std::string_view text) {
  Headers read;
  if (parse_headers(text, read))
    for (const auto& [name, value] : read)
      require(!name.empty() && name.find(':') == std::string::npos, "a header has a name");
  std::string block = "NATS/1.0\r\n";
  for (const auto& [name, value] : headers) {
    const auto plain = [](const std::string& part) {
      return !part.empty() && part.find_first_of("\r\n\t :") == std::string::npos;
    };
    if (!plain(name) || !plain(value)) return;
    block += name + ": " + value + "\r\n";
  }
  require(parse_headers(block + "\r\n", read) && read == headers, "headers are read as they were sent");
  require(!parse_headers(block, read), "a block ends with an empty line");
}

void check_ack_subject(std::string_view text) {
  const auto ack = AckSubject::parse(text);
  if (!ack) return;
  const auto within = [text](std::string_view part) {
    return !part.empty() && part.data() >= text.data() &&
           part.data() + part.size() <= text.data() + text.size();
  };
  require(text.starts_with("$JS.ACK."), "an ack subject begins as one");
  require(within(ack->stream) && within(ack->consumer), "stream and consumer are parts of the subject");
}

/// The scanner reads what the parser of the JSON library reads, and nothing else.
void check_scanner(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return;  // the library takes it for the end
  JsonScanner scanner{text};
  const bool scanned = scanner.take_value() && scanner.at_end();
  bool parsed = true;
  try {
    parsed = !nlohmann::json::parse(text, nullptr, true).is_discarded();
  } catch (const nlohmann::json::out_of_range&) {
    return;  // a number that no double holds is JSON all the same
  } catch (const nlohmann::json::exception&) {
    parsed = false;
  }
  const auto nesting = std::count_if(text.begin(), text.end(), [](char c) { return c == '[' || c == '{'; });
  require(!scanned || parsed, "what the scanner takes is JSON");
  require(!parsed || scanned || nesting > JsonScanner::deepest || text.starts_with("\xef\xbb\xbf"),
          "the scanner takes all JSON");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(bytes), size};
  check_ack_subject(text);
  check_scanner(text);
  const auto headers = take_headers(text);
  check_event(headers, text);
  check_header_block(headers, text);
  check_scanner(text);
  return 0;
}
