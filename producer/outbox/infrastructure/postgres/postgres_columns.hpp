#pragma once

// Which columns are read from the outbox in PostgreSQL, in which order, and how a
// row of them becomes an event.

#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/postgres_connection.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace tidings::postgres_columns {

inline const std::string header =
    R"sql(id, "aggregateId", "aggregateType", "eventType", "eventVersion", "occurredAt", "createdAt",
          "updatedAt", "retryCount", status, xmin)sql";
inline const std::string event = header + R"sql(, "eventData")sql";
inline const std::string row = event + R"sql(, "lastError", "processedAt", "publishedAt")sql";

// By bytes: the database's own collation is slower, and may differ on another host.
inline const std::string in_order = R"sql( ORDER BY "createdAt", id COLLATE "C")sql";
inline constexpr const char* beginning = "-infinity";  // before the first row

/// From columns from `at` on that are as in `header`, `event` and `row`.
[[nodiscard]] OutboxEvent read_header(const PostgresRows& rows, int number, int at = 0);
[[nodiscard]] OutboxEvent read_event(const PostgresRows& rows, int number, int at = 0);
[[nodiscard]] OutboxRow read_row(const PostgresRows& rows, int number);
/// The id of the transaction that wrote the row, as 32 bits that wrap around.
[[nodiscard]] std::uint32_t read_transaction(const PostgresRows& rows, int number, int at = 0);

/// infinity, -infinity and everything else that is no time of the calendar read as the epoch itself.
[[nodiscard]] Timestamp read_time(std::string_view text);
[[nodiscard]] int read_count(const PostgresRows& rows, int number, int column);

}  // namespace tidings::postgres_columns
