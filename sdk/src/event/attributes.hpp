#pragma once

// What binary mode and structured mode of CloudEvents have in common.

#include <tidings/event.hpp>

#include <array>
#include <cstdint>
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

/// What takes the place of a type or an id that a sender has left out; empty when nothing does.
struct StandIns {
  std::string_view type;
  // Where the message lies, in place of an id when there is no Nats-Msg-Id either. The time is there because
  // a stream that is deleted and made again starts with the same sequences.
  std::string_view stream{};
  std::uint64_t sequence = 0;
  std::int64_t stored_at_ns = 0;
};

/// As decode() of <tidings/event.hpp>, which knows no stand-in for the id.
void decode(const Headers& headers, std::string_view payload, const StandIns& stand_ins, Event& out);

/// Fills in what a sender may leave out, and rejects events that lack what has no default.
void complete(Event& event, const Headers& headers, const StandIns& stand_ins);

}  // namespace tidings
