#pragma once

// The rules for attributes of CloudEvents that hold for headers and for structured mode alike. Each throws
// Undecodable, naming the attribute.

#include <tidings/event.hpp>

#include <string>
#include <string_view>

namespace tidings {

[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right);

[[nodiscard]] int parse_event_version(std::string_view text);
void require_object(const std::string& metadata, const char* attribute);
void require_specversion(std::string_view version);

/// Fills in what a sender may leave out, and refuses what nothing can stand in for.
void complete(Event& event, std::string_view message_id, std::string_view subject_type);

}  // namespace tidings
