#include "services/event_data.hpp"

#include "event/json_scanner.hpp"
#include "nats/subject.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace tidings {
namespace {

constexpr std::size_t longest_subject = 255;
constexpr std::ptrdiff_t most_subject_tokens = 16;

std::string text_of(const nlohmann::json& metadata, const char* name) {
  const auto member = metadata.find(name);
  return member != metadata.end() && member->is_string() ? member->get<std::string>() : std::string{};
}

/// Reads the members of an object whose brace was taken; false when it is not one.
bool take_members(JsonScanner& scanner, EventData& parts) {
  if (scanner.take('}')) return true;
  do {
    const auto name = scanner.take_string();
    if (!name || !scanner.take(':')) return false;
    const auto value = scanner.take_value();
    if (!value) return false;
    if (*name == "\"data\"") parts.data = *value;
    if (*name == "\"metadata\"") parts.metadata = *value;
  } while (scanner.take(','));
  return scanner.take('}');
}

}  // namespace

EventData EventData::split(std::string_view text) {
  JsonScanner scanner{text};
  EventData parts;
  if (!scanner.take('{') || !take_members(scanner, parts) || !scanner.at_end())
    throw Undecodable("eventData: is not a JSON object");
  if (parts.data.empty()) return {.data = text, .metadata = {}};
  return parts;
}

const Event& EventBuilder::build(const OutboxEvent& row) {
  const auto parts = EventData::split(row.event_data);
  read_metadata(parts.metadata);
  event_.id = row.id;
  event_.type = row.event_type;
  event_.aggregate_id = row.aggregate_id;
  event_.aggregate_type = row.aggregate_type;
  event_.version = row.event_version;
  event_.time = to_iso8601(row.occurred_at);
  event_.partition_key = row.aggregate_id;
  event_.data = parts.data;
  return event_;
}

void EventBuilder::read_metadata(std::string_view text) {
  if (metadata_known_ && text == metadata_) return;
  metadata_known_ = false;
  metadata_ = text;
  event_.source = source_;
  event_.traceparent.clear();
  event_.tracestate.clear();
  event_.metadata = "{}";
  if (!text.empty() && text != "null") {
    const auto metadata = nlohmann::json::parse(text, nullptr, false);
    if (!metadata.is_object()) throw Undecodable("eventData.metadata: is not a JSON object");
    if (auto source = text_of(metadata, "source"); !source.empty()) event_.source = std::move(source);
    event_.traceparent = text_of(metadata, "traceparent");
    event_.tracestate = text_of(metadata, "tracestate");
    event_.metadata = metadata.dump(-1, ' ', true);  // ASCII on one line
  }
  metadata_known_ = true;
}

std::string subject_of(const OutboxEvent& row, std::string_view prefix) {
  const auto& type = row.event_type;
  if (!is_literal_subject(type)) throw Undecodable("eventType: \"" + type + "\" cannot be part of a subject");
  std::string subject;
  subject.reserve(prefix.size() + 1 + type.size());
  subject.append(prefix).append(1, '.').append(type);
  if (subject.size() > longest_subject ||
      std::count(subject.begin(), subject.end(), '.') >= most_subject_tokens)
    throw Undecodable("eventType: its subject would have more than 255 characters or 16 parts");
  return subject;
}

}  // namespace tidings
