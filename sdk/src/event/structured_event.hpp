#pragma once

#include "event/attributes.hpp"

#include <tidings/event.hpp>

#include <string_view>

namespace tidings {

/// Structured mode of CloudEvents: attributes and data in one JSON document. JSON data is kept as it is
/// written. Throws Undecodable.
[[nodiscard]] Event decode_structured(const Headers& headers, std::string_view payload,
                                      const StandIns& stand_ins);

}  // namespace tidings
