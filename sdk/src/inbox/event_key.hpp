#pragma once

// How an inbox keeps an event's id.

#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// The 16 bytes of a UUID in its one canonical spelling, so that no two ids share a key.
[[nodiscard]] std::optional<std::string> uuid_bytes(const std::string& id);

/// PostgreSQL's key as the text of a bytea: a UUID's 16 bytes, or the id's text behind a zero byte (and
/// before another one when those were 16 bytes).
[[nodiscard]] std::string bytea_key(const std::string& event_id);

/// Sorted, so that no two statements wait for each other's rows in a circle.
[[nodiscard]] std::string bytea_array(std::vector<std::string> keys);

}  // namespace tidings
