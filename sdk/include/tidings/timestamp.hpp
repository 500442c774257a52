#pragma once

// Times cross databases and wires as ISO-8601 / RFC 3339 text in UTC, written and read here alone.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// Milliseconds since the Unix epoch: the resolution of the table and the wire.
using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;

/// `2026-01-31T08:15:30.123Z`
[[nodiscard]] std::string to_iso8601(Timestamp time);

/// Reads RFC 3339 (any offset, any number of decimals), SQLite's `YYYY-MM-DD HH:MM:SS` (taken as UTC), that
/// with ` +00:00` as Sequelize writes it, and whole milliseconds since the epoch (as older Prisma clients
/// store). Empty for any other text.
[[nodiscard]] std::optional<Timestamp> parse_timestamp(std::string_view text);

[[nodiscard]] Timestamp now();

}  // namespace tidings
