#pragma once

// Which columns the repository reads, in which order, and how a row of them
// becomes an event. Foreign writers share the table, so nothing here throws for
// a value that is NULL or odd.

#include "database/statement_run.hpp"

#include <tidings/outbox_event.hpp>
#include <tidings/outbox_repository.hpp>

#include <string>

namespace tidings {

// Names are not quoted: SQLite takes a quoted name that does not exist for a text.
inline const std::string header_columns =
    "rowid, id, aggregateId, aggregateType, eventType, eventVersion, occurredAt, createdAt, updatedAt, "
    "retryCount, status";
inline const std::string event_columns = header_columns + ", eventData";
inline const std::string row_columns = event_columns + ", lastError, processedAt, publishedAt";

/// Everything but the payload, from `header_columns` or more.
[[nodiscard]] OutboxEvent read_header(const StatementRun& run);
/// From `event_columns` or more.
[[nodiscard]] OutboxEvent read_event(const StatementRun& run);
/// From `row_columns`.
[[nodiscard]] OutboxRow read_row(const StatementRun& run);

}  // namespace tidings
