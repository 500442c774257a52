#include "event/structured_data.hpp"

#include "event/base64.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <utility>

namespace tidings {

bool is_json(std::string_view content_type) {
  if (content_type == "application/json") return true;  // as nearly all have it
  std::string media_type{content_type.substr(0, content_type.find_first_of("; "))};
  std::ranges::transform(media_type, media_type.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  });
  return media_type.empty() || media_type.ends_with("/json") || media_type.ends_with("+json");
}

void read_structured_data(const nlohmann::ordered_json& document, Event& event) {
  const auto type = document.find("datacontenttype");
  if (type != document.end() && !type->is_null()) {
    if (!type->is_string()) throw Undecodable("datacontenttype: is not a string");
    if (auto text = type->get<std::string>(); !is_json(text)) event.content_type = std::move(text);
  }
  const auto data = document.find("data");
  const auto base64 = document.find("data_base64");
  if (base64 != document.end()) {
    if (data != document.end()) throw Undecodable("data_base64: is there beside data");
    auto bytes = base64->is_string() ? decode_base64(base64->get<std::string>()) : std::nullopt;
    if (!bytes) throw Undecodable("data_base64: is not base64");
    event.data = std::move(*bytes);
  } else if (data != document.end()) {
    const bool is_text = data->is_string() && !event.content_type.empty();
    event.data = is_text ? data->get<std::string>() : data->dump();
  }
}

}  // namespace tidings
