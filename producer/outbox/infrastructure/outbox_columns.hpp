#pragma once

// Which columns are read from the outbox, in which order, and how a row of them becomes an event. Foreign
// writers share the table, so nothing here throws for a value that is NULL or odd.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::outbox_columns {

enum class Columns {
  header,
  event,   ///< with eventData, unless that is large: a window of many such rows would fill the memory
  row,     ///< for people
  listed,  ///< the same without eventData
};

/// SQLite: ends `id `, so that it finds the id $1 whatever type a driver has bound; $2 is bytes_of_uuid($1).
inline const std::string in_any_form = "IN ($1, CAST($1 AS BLOB), CAST(nullif($2, '') AS BLOB))";
[[nodiscard]] std::string bytes_of_uuid(std::string_view id);  ///< empty when it is none

/// `SELECT <columns> FROM outbox_event AS e`, with a column in front that tells where the row stands: rowid
/// in SQLite; in PostgreSQL xmin, the id of the transaction that wrote it, as 32 bits that wrap around. Of
/// events, PostgreSQL also has cmin and ctid, at `command` and `tuple`.
[[nodiscard]] std::string select(Database::Kind kind, Columns columns);
inline constexpr std::size_t command = 12, tuple = 13;

/// SQLite: of a column of ids. Where a driver has bound the 16 bytes of a UUID, they are read as its text.
[[nodiscard]] std::string id_as_text(const std::string& column);

/// From the columns from `at` on, which are as in select(); eventData stays empty when only `header` was
/// read. Texts are moved out of `rows`.
[[nodiscard]] OutboxEvent take_event(SqlRows& rows, std::size_t number, Database::Kind kind,
                                     std::size_t at = 0);
[[nodiscard]] std::vector<OutboxEvent> take_events(SqlRows rows, Database::Kind kind);
[[nodiscard]] std::vector<OutboxRow> take_rows(SqlRows rows, Database::Kind kind);

/// However the writer stored it: ISO text, `YYYY-MM-DD HH:MM:SS`, milliseconds or seconds since the epoch.
/// Empty for everything else, and for times in 1970, which nobody means.
[[nodiscard]] std::optional<Timestamp> read_time(std::string_view text);
/// As a number of attempts: not negative, and one more is still an int.
[[nodiscard]] int read_count(const SqlRows& rows, std::size_t number, std::size_t column);

}  // namespace tidings::outbox_columns
