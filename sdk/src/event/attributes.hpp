#pragma once

// What binary mode and structured mode of CloudEvents have in common.

#include <tidings/event.hpp>

#include <array>
#include <string>
#include <string_view>

namespace tidings {

struct TextAttribute {
  std::string_view header;  ///< in binary mode; in structured mode without the "ce-"
  std::string Event::*value;
};

/// In wire order. Any text is valid for these.
inline constexpr std::array text_attributes{
    TextAttribute{"ce-id", &Event::id},
    TextAttribute{"ce-type", &Event::type},
    TextAttribute{"ce-source", &Event::source},
    TextAttribute{"ce-subject", &Event::aggregate_id},
    TextAttribute{"ce-time", &Event::time},
    TextAttribute{"ce-aggregatetype", &Event::aggregate_type},
    TextAttribute{"ce-partitionkey", &Event::partition_key},
};

/// Also of no content type: then JSON is meant.
[[nodiscard]] bool is_json(std::string_view content_type);

/// Throws Undecodable, as all of these do.
[[nodiscard]] int parse_event_version(std::string_view text);
void require_object(const std::string& metadata, const char* attribute);
void require_specversion(std::string_view version);

/// Not nested so deeply that what walks a tree of it, call by call, could use up the stack.
void require_flat(std::string_view json, const char* attribute);

/// Fills in what a sender may leave out, and rejects events that lack what has no default.
void complete(Event& event, const Headers& headers, std::string_view subject_type);

}  // namespace tidings
