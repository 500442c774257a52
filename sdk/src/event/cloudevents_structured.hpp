#pragma once

// CloudEvents in structured mode: attributes and data in one JSON document.

#include <tidings/event.hpp>

#include <string_view>

namespace tidings {

[[nodiscard]] bool is_structured(const Headers& headers);
[[nodiscard]] Event decode_structured(const Headers& headers, std::string_view payload,
                                      std::string_view subject_type);

}  // namespace tidings
