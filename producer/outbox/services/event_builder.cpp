#include "services/event_builder.hpp"

#include "event/ascii_json.hpp"
#include "event/attributes.hpp"
#include "event/json_scanner.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <bit>

namespace tidings {
namespace {

/// A string without its quotes and escapes; empty for values of other kinds.
std::string text_of(std::string_view value) {
  return value.starts_with('"') ? nlohmann::json::parse(value).get<std::string>() : std::string{};
}

/// Calls `visit(name, value)`, slices of the text, for each member of an object; false when it is not one.
template <class Visit>
bool take_members(JsonScanner& scanner, Visit&& visit) {
  if (!scanner.take('{')) return false;
  if (scanner.take('}')) return true;
  do {
    const auto name = scanner.take_string();
    if (!name || !scanner.take(':')) return false;
    const auto value = scanner.take_value();
    if (!value) return false;
    visit(*name, *value);
  } while (scanner.take(','));
  return scanner.take('}');
}

}  // namespace

EventData EventData::split(std::string_view text) {
  JsonScanner scanner{text};
  EventData parts;
  const auto keep = [&parts](std::string_view name, std::string_view value) {
    if (name == "\"data\"") parts.data = value;
    if (name == "\"metadata\"") parts.metadata = value;
  };
  if (!take_members(scanner, keep) || !scanner.at_end()) {
    require_flat(text, "eventData");
    throw Undecodable("eventData: is not a JSON object");
  }
  if (parts.data.empty()) return {.data = text, .metadata = {}};
  return parts;
}

const Event& EventBuilder::build(const OutboxEvent& row) {
  return build_whole(row.data_is_read || !read_data_ ? row : read_data_(row));
}

const Event& EventBuilder::build_whole(const OutboxEvent& row) {
  if (!row.defect.empty()) throw Undecodable(row.defect);
  const auto parts = EventData::split(row.event_data);
  read_metadata(parts.metadata);
  event_.id = row.id;
  event_.type = row.event_type;
  event_.aggregate_id = row.aggregate_id;
  event_.aggregate_type = row.aggregate_type;
  event_.version = row.event_version;
  event_.time = row.occurred_at ? to_iso8601(*row.occurred_at) : std::string{};
  if (!row.occurred_at) tell_without_time(row);
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
    JsonScanner scanner{text};
    const auto keep = [this](std::string_view name, std::string_view value) {
      if (name == "\"source\"")
        if (auto source = text_of(value); !source.empty()) event_.source = std::move(source);
      if (name == "\"traceparent\"") event_.traceparent = text_of(value);
      if (name == "\"tracestate\"") event_.tracestate = text_of(value);
    };
    if (!take_members(scanner, keep)) throw Undecodable("eventData.metadata: is not a JSON object");
    event_.metadata.clear();
    append_ascii_json(event_.metadata, text);
  }
  metadata_known_ = true;
}

/// A writer that does so does so each time: told are the first, the second, the fourth …
void EventBuilder::tell_without_time(const OutboxEvent& row) {
  if (!std::has_single_bit(++without_time_)) return;
  spdlog::warn("no time id={} events={} reason=\"occurredAt cannot be read; ce-time is left out\"", row.id,
               without_time_);
}

}  // namespace tidings
