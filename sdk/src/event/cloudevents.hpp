#pragma once

// CloudEvents: the rules for attributes that hold in both modes, and structured mode, which has attributes
// and data in one JSON document. Binary mode is in event.cpp. What throws, throws Undecodable naming the
// attribute.

#include <tidings/event.hpp>

#include <array>
#include <string>
#include <string_view>

namespace tidings {

struct TextAttribute {
  std::string_view header;  ///< in binary mode
  std::string Event::*value;

  /// In structured mode: without the "ce-".
  [[nodiscard]] std::string name() const { return std::string{header.substr(3)}; }
};

/// In wire order. Any text will do for them.
inline constexpr std::array text_attributes{
    TextAttribute{"ce-id", &Event::id},
    TextAttribute{"ce-type", &Event::type},
    TextAttribute{"ce-source", &Event::source},
    TextAttribute{"ce-subject", &Event::aggregate_id},
    TextAttribute{"ce-time", &Event::time},
    TextAttribute{"ce-aggregatetype", &Event::aggregate_type},
    TextAttribute{"ce-partitionkey", &Event::partition_key},
};

[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right);

[[nodiscard]] int parse_event_version(std::string_view text);
void require_object(const std::string& metadata, const char* attribute);
void require_specversion(std::string_view version);

/// Fills in what a sender may leave out, and refuses what nothing can stand in for.
void complete(Event& event, std::string_view message_id, std::string_view subject_type);

[[nodiscard]] bool is_structured(const Headers& headers);
[[nodiscard]] Event decode_structured(const Headers& headers, std::string_view payload,
                                      std::string_view subject_type);

}  // namespace tidings
