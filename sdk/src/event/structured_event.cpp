#include "event/structured_event.hpp"

#include "event/base64.hpp"
#include "event/json_scanner.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace tidings {
namespace {

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

/// Of the members that have a meaning here.
constexpr auto names = [] {
  constexpr std::array<std::string_view, 8> others{"specversion", "eventversion",    "metadata",
                                                   "data",        "datacontenttype", "data_base64",
                                                   "tracestate",  "traceparent"};
  std::array<std::string_view, text_attributes.size() + others.size()> all;
  auto next = std::ranges::copy(others, all.begin()).out;
  for (const auto& attribute : text_attributes) *next++ = attribute.header.substr(3);
  return all;
}();

bool is_string(std::string_view json) { return json.starts_with('"'); }

std::string unquoted(std::string_view json) {
  if (json.find('\\') == std::string_view::npos) return std::string{json.substr(1, json.size() - 2)};
  return nlohmann::json::parse(json).get<std::string>();
}

/// The members that have a meaning, as they are written. They are found in one pass: a tree of the document
/// costs many times its size, and with ordered members a search for each.
class Members {
 public:
  explicit Members(std::string_view document) {
    if (document.starts_with(byte_order_mark)) document.remove_prefix(byte_order_mark.size());
    JsonScanner scanner{document};
    if (scanner.take('{') && read(scanner) && scanner.at_end()) return;
    require_flat(document, "payload");
    throw Undecodable("payload: is not a JSON object, as structured CloudEvents must be");
  }

  /// Empty when there is none.
  [[nodiscard]] std::string_view find(std::string_view name) const { return values_[place(name)]; }

  /// Empty when there is none, or when it is null.
  [[nodiscard]] std::string text(std::string_view name) const {
    const auto value = find(name);
    if (value.empty() || value == "null") return {};
    if (!is_string(value)) throw Undecodable(std::string{name} + ": is not a string");
    return unquoted(value);
  }

  /// Of a string, its text; anything else as it is written.
  [[nodiscard]] std::string text_or_json(std::string_view name) const {
    const auto value = find(name);
    return is_string(value) ? unquoted(value) : std::string{value};
  }

 private:
  /// Behind the opening brace. Of members with the same name the last counts.
  bool read(JsonScanner& scanner) {
    if (scanner.take('}')) return true;
    do {
      const auto name = scanner.take_string();
      if (!name || !scanner.take(':')) return false;
      const auto value = scanner.take_value();
      if (!value) return false;
      const bool escaped = name->find('\\') != std::string_view::npos;
      const auto its_place = escaped ? place(unquoted(*name)) : place(name->substr(1, name->size() - 2));
      if (its_place < names.size()) values_[its_place] = *value;
    } while (scanner.take(','));
    return scanner.take('}');
  }

  static std::size_t place(std::string_view name) {
    return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
  }

  std::array<std::string_view, names.size()> values_;  // in the order of `names`
};

/// In CloudEvents, an extension attribute is a string; many senders write an object all the same.
std::string metadata_of(const Members& members) {
  const auto value = members.find("metadata");
  if (value.empty() || value == "null") return "{}";
  auto metadata = members.text_or_json("metadata");
  require_object(metadata, "metadata");
  return metadata;
}

/// JSON; or text or base64, where the content type says so.
void read_data(const Members& members, Event& event) {
  if (auto type = members.text("datacontenttype"); !is_json(type)) event.content_type = std::move(type);
  const auto data = members.find("data");
  if (const auto base64 = members.find("data_base64"); !base64.empty()) {
    if (!data.empty()) throw Undecodable("data_base64: is there beside data");
    auto bytes = is_string(base64) ? decode_base64(unquoted(base64)) : std::nullopt;
    if (!bytes) throw Undecodable("data_base64: is not base64");
    event.data = *std::move(bytes);
  } else {
    event.data = is_string(data) && !event.content_type.empty() ? unquoted(data) : std::string{data};
  }
}

}  // namespace

Event decode_structured(const Headers& headers, std::string_view payload, const StandIns& stand_ins) {
  const Members members{payload};
  require_specversion(members.text("specversion"));
  Event event;
  for (const auto& attribute : text_attributes)
    event.*attribute.value = members.text(attribute.header.substr(3));
  if (!members.find("eventversion").empty())
    event.version = parse_event_version(members.text_or_json("eventversion"));
  event.metadata = metadata_of(members);
  event.traceparent = members.text("traceparent");
  event.tracestate = members.text("tracestate");
  read_data(members, event);
  complete(event, headers, stand_ins);
  return event;
}

}  // namespace tidings
