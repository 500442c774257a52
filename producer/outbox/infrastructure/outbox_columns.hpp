#pragma once

// Which columns are read from the outbox, in which order, and how a row of them becomes an event. Foreign
// writers share the table, so nothing here throws for a value that is NULL or odd.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidings::outbox_columns {

// Names are qualified: SQLite takes a quoted name that does not exist for a text, unless it is.
inline const std::string header =
    R"sql(e.id, e."aggregateId", e."aggregateType", e."eventType", e."eventVersion", e."occurredAt",
          e."createdAt", e."updatedAt", e."retryCount", e.status)sql";

// With eventData, unless that is large: a window of many such rows would fill the memory. PostgreSQL looks at
// the length of the text only where what is stored, maybe compressed, is more than most events have.
inline const std::string longest_read_ahead = "32768";
inline const std::string event = header + R"sql(,
    CASE WHEN pg_column_size(e."eventData") <= 2000 OR octet_length(e."eventData"::text) <= )sql" +
                                 longest_read_ahead + R"sql( THEN e."eventData" END)sql";
inline const std::string sqlite_event =
    header + ", CASE WHEN length(CAST(e.eventData AS BLOB)) <= " + longest_read_ahead +
    " THEN e.eventData END";

// For people; a list goes without eventData.
inline const std::string rest = R"sql(, e."lastError", e."processedAt", e."publishedAt")sql";
inline const std::string row = header + R"sql(, e."eventData")sql" + rest;
inline const std::string listed = header + ", NULL" + rest;

/// SQLite: ends `id `, so that it finds the id $1 whatever type a driver has bound; $2 is bytes_of_uuid($1).
inline const std::string in_any_form = "IN ($1, CAST($1 AS BLOB), CAST(nullif($2, '') AS BLOB))";
[[nodiscard]] std::string bytes_of_uuid(std::string_view id);  ///< empty when it is none

/// `SELECT <columns> FROM outbox_event AS e`, with a column in front that tells where the row stands: rowid
/// in SQLite; in PostgreSQL xmin, the id of the transaction that wrote it, as 32 bits that wrap around.
[[nodiscard]] std::string select(Database::Kind kind, const std::string& columns);

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
