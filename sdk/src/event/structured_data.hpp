#pragma once

// The data of an event in structured mode: JSON, text or base64, as its content type has it.

#include <tidings/event.hpp>

#include <nlohmann/json_fwd.hpp>

#include <string_view>

namespace tidings {

/// Also of no content type: then JSON is meant.
[[nodiscard]] bool is_json(std::string_view content_type);

/// Reads `data` or `data_base64`, and `datacontenttype` where that is not JSON: then data is a string of
/// text, or base64. Throws Undecodable.
void read_structured_data(const nlohmann::ordered_json& document, Event& event);

}  // namespace tidings
