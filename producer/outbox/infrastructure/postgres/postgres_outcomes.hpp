#pragma once

// What is PostgreSQL's own about writing outcomes: many rows by their ids in one statement, whatever the
// planner thinks of the table, and without waiting for rows that others have locked.

#include "infrastructure/event_outcome.hpp"
#include "infrastructure/lease.hpp"

#include <tidings/database.hpp>
#include <tidings/processor_status.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings::postgres_outcomes {

/// Settled rows stay as they are. As a text, for which there is no index: where statistics say that nothing
/// is PENDING, the planner would walk through all that is, instead of looking for a few ids.
inline const std::string not_settled = "status::text IN ('PENDING', 'PROCESSING', 'FAILED')";

/// Of events that the stream has stored. Returns how many rows were changed; throws SqlError when rows are as
/// they were before.
std::int64_t write_published(Database& database, const std::vector<Outcome>& published,
                             bool delete_published);

/// Throws SqlError when the outcome's row is not settled: then the statement that should have changed it has
/// not.
void require_changed(Database& database, const Outcome& outcome);

/// In a transaction: takes out of `outcomes` those whose rows others have locked, and locks the rows of the
/// rest. `why` then says who has them. Throws SqlError when a row is not to be had although nobody has it.
[[nodiscard]] std::vector<Outcome> take_locked(Database& database, std::vector<Outcome>& outcomes,
                                               std::string& why);

/// Not in a transaction: writes published events, renews the lease and writes the processor's record in one
/// statement. It is one round trip, and whoever is frozen while it is sent holds no lock. Returns how many
/// rows were changed, empty when the lease is lost.
[[nodiscard]] std::optional<std::int64_t> write_at_once(Database& database, Lease& lease,
                                                        const std::vector<Outcome>& published,
                                                        const ProcessorStatus& status, bool delete_published);

}  // namespace tidings::postgres_outcomes
