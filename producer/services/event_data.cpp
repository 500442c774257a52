#include "services/event_data.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tidings {
namespace {

constexpr const char* default_source = "auth-service";
constexpr std::size_t longest_subject = 255;
constexpr std::ptrdiff_t most_subject_tokens = 16;

/// Walks over JSON text that is known to be valid.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
  }

  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void advance() { ++at_; }

  /// A string with its quotes.
  std::string_view take_string() {
    const auto begin = at_++;
    while (text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    ++at_;
    return text_.substr(begin, at_ - begin);
  }

  std::string_view take_value() {
    const auto begin = at_;
    if (peek() == '"') return take_string();
    if (peek() == '{' || peek() == '[') {
      skip_nested();
    } else {
      at_ = std::min(text_.find_first_of(",} \n\r\t", at_), text_.size());
    }
    return text_.substr(begin, at_ - begin);
  }

 private:
  void skip_nested() {
    int depth = 0;
    do {
      const char letter = peek();
      if (letter == '"') {
        take_string();
        continue;
      }
      if (letter == '{' || letter == '[') ++depth;
      if (letter == '}' || letter == ']') --depth;
      ++at_;
    } while (depth > 0);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string text_of(const nlohmann::json& metadata, const char* name) {
  const auto member = metadata.find(name);
  return member != metadata.end() && member->is_string() ? member->get<std::string>() : std::string{};
}

}  // namespace

EventData EventData::split(std::string_view text) {
  if (!nlohmann::json::accept(text)) throw Undecodable("eventData: is no JSON");
  Scanner scanner{text};
  scanner.skip_space();
  if (scanner.peek() != '{') throw Undecodable("eventData: is no JSON object");
  scanner.advance();
  EventData parts;
  for (scanner.skip_space(); scanner.peek() != '}'; scanner.skip_space()) {
    if (scanner.peek() == ',') {
      scanner.advance();
      scanner.skip_space();
    }
    const auto name = scanner.take_string();
    scanner.skip_space();
    scanner.advance();  // the colon
    scanner.skip_space();
    const auto value = scanner.take_value();
    if (name == "\"data\"") parts.data = value;
    if (name == "\"metadata\"") parts.metadata = value;
  }
  if (parts.data.empty()) return {.data = text, .metadata = {}};
  return parts;
}

Event to_event(const OutboxEvent& row) {
  const auto parts = EventData::split(row.event_data);
  Event event{.id = row.id,
              .type = row.event_type,
              .source = default_source,
              .aggregate_id = row.aggregate_id,
              .aggregate_type = row.aggregate_type,
              .version = row.event_version,
              .time = to_iso8601(row.occurred_at),
              .partition_key = row.aggregate_id,
              .traceparent = {},
              .tracestate = {},
              .data = std::string{parts.data}};
  if (parts.metadata.empty() || parts.metadata == "null") return event;
  const auto metadata = nlohmann::json::parse(parts.metadata);
  if (!metadata.is_object()) throw Undecodable("eventData.metadata: is no JSON object");
  if (auto source = text_of(metadata, "source"); !source.empty()) event.source = std::move(source);
  event.traceparent = text_of(metadata, "traceparent");
  event.tracestate = text_of(metadata, "tracestate");
  event.metadata = metadata.dump(-1, ' ', true);  // ASCII on one line: it becomes a header
  return event;
}

std::string subject_of(const OutboxEvent& row, std::string_view prefix) {
  auto subject = std::string{prefix} + "." + row.event_type;
  const auto illegal = [](char letter) {
    return static_cast<unsigned char>(letter) <= ' ' || letter == '*' || letter == '>' || letter == '\x7f';
  };
  const bool empty_token = row.event_type.empty() || row.event_type.front() == '.' ||
                           row.event_type.back() == '.' || row.event_type.find("..") != std::string::npos;
  if (empty_token || std::any_of(row.event_type.begin(), row.event_type.end(), illegal))
    throw Undecodable("eventType: \"" + row.event_type + "\" makes no legal subject");
  if (subject.size() > longest_subject ||
      std::count(subject.begin(), subject.end(), '.') >= most_subject_tokens)
    throw Undecodable("eventType: makes a subject of more than 255 characters or 16 parts");
  return subject;
}

}  // namespace tidings
