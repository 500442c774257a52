#pragma once

// For services that bring their own connection: the statement that adds an event to the table outbox_event,
// its parameters, and what wakes the relay on PostgreSQL. <tidings/outbox_adapters.hpp> and
// <tidings/outbox_pqxx.hpp> run it over the usual libraries; docs/outbox-table.md tells what other writers of
// the table need to know.

#include <tidings/domain_event.hpp>

#include <array>
#include <string>

/// Run one of the inserts in the transaction that makes the change which the event tells of: the two then
/// commit together or not at all. The parameters $1 to $7 are those of parameters(), each of them a text.
namespace tidings::outbox_insert {

/// The event's columns as text: id, aggregateId, aggregateType, eventType, eventData, eventVersion,
/// occurredAt.
using Parameters = std::array<std::string, 7>;

/// Throws Error for a text that no column can hold: not UTF-8, or with a NUL in it.
[[nodiscard]] Parameters parameters(const DomainEvent& event);

/// SQLite numbers the parameters 1 to 7, in this order. The relay sees the commit in the file.
inline constexpr const char* sqlite = R"sql(
    INSERT INTO outbox_event (id, "aggregateId", "aggregateType", "eventType", "eventData", "eventVersion",
                              "occurredAt", "retryCount", status, "createdAt", "updatedAt")
    VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 'PENDING',
            strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))sql";

/// createdAt is the server's clock at the insert, not at the begin. Where the aggregate has a row of this
/// millisecond already, it is a time that puts this one behind it: writers that a row lock puts in order stay
/// in order (docs/decisions/0007).
//
// The aggregate is compared as an expression, for which there is no index: the few rows of a millisecond are
// found by status and createdAt, where an aggregate may have a million rows. The upper bound is there for the
// planner: it takes half a per cent of the rows for what lies between two bounds that it does not know, and a
// third for what lies above one, so that it would rather read the whole table.
inline constexpr const char* postgresql = R"sql(
    INSERT INTO outbox_event (id, "aggregateId", "aggregateType", "eventType", "eventData", "eventVersion",
                              "occurredAt", "createdAt", "updatedAt")
    SELECT $1::text, $2::text, $3::text, $4, $5::jsonb, $6::integer, $7::timestamp, at.time, at.time
    FROM (SELECT CASE WHEN last.id IS NULL THEN clock.time
                      WHEN last.id COLLATE "C" < $1 THEN last.time
                      ELSE last.time + interval '1 millisecond' END AS time
          FROM (SELECT date_trunc('milliseconds', clock_timestamp() AT TIME ZONE 'UTC') AS time) AS clock
          LEFT JOIN LATERAL (SELECT id, "createdAt" AS time FROM outbox_event
                             WHERE status IN ('PENDING', 'PUBLISHED', 'FAILED', 'PROCESSING', 'DEAD_LETTER')
                               AND "createdAt" >= clock.time AND "createdAt" < 'infinity'
                               AND "aggregateId" || '' = $2 AND "aggregateType" || '' = $3
                             ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT 1) AS last ON true) AS at)sql";

/// PostgreSQL: notifies a relay that waits, when the transaction commits. Once in a transaction is enough,
/// behind its last event. Without it the relay sees the events at its next poll.
/// `Database::add_notify_trigger()` makes a trigger that does it for writers that do not.
inline constexpr const char* postgresql_wake =
    "SELECT pg_notify('outbox_event', '') WHERE NOT "
    "pg_try_advisory_xact_lock_shared(1952738667, 'outbox_event'::regclass::oid::integer)";

/// Both in one round trip.
inline const std::string postgresql_and_wake =
    std::string("WITH added AS (").append(postgresql).append(") ").append(postgresql_wake);

}  // namespace tidings::outbox_insert
