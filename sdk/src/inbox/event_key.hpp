#pragma once

// How an inbox keeps an event's id.

#include <array>
#include <optional>
#include <string>

namespace tidings {

/// The 16 bytes of a UUID in its one canonical spelling, so that no two ids share a key.
[[nodiscard]] std::optional<std::array<unsigned char, 16>> uuid_bytes(const std::string& id);

}  // namespace tidings
