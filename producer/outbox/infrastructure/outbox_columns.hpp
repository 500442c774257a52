#pragma once

// Which columns are read from the outbox, in which order, and how a row of them becomes an event. Foreign
// writers share the table, so nothing here throws for a value that is NULL or odd.

#include <tidings/database.hpp>
#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace tidings::outbox_columns {

// Names are qualified: SQLite takes a quoted name that does not exist for a text, unless it is.
inline const std::string header =
    R"sql(e.id, e."aggregateId", e."aggregateType", e."eventType", e."eventVersion", e."occurredAt",
          e."createdAt", e."updatedAt", e."retryCount", e.status)sql";
inline const std::string event = header + R"sql(, e."eventData")sql";
inline const std::string row = event + R"sql(, e."lastError", e."processedAt", e."publishedAt")sql";

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

/// However the writer stored it: ISO text, `YYYY-MM-DD HH:MM:SS`, milliseconds since the epoch. The epoch
/// itself (`Timestamp{}`) for everything else.
[[nodiscard]] Timestamp read_time(std::string_view text);
/// As an int that is not negative.
[[nodiscard]] int read_count(const SqlRows& rows, std::size_t number, std::size_t column);

}  // namespace tidings::outbox_columns
