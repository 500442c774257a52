#pragma once

// What the processor writes into the outbox: what became of events, and its own record.

#include "infrastructure/event_outcome.hpp"
#include "infrastructure/lease.hpp"

#include <tidings/database.hpp>
#include <tidings/processor_status.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tidings {

/// In a transaction whose lease was checked. Rows that are gone or already settled stay as they are. With
/// `delete_published`, published rows are deleted (SQLite: except for the table's newest, which becomes
/// PUBLISHED and is left to cleanup). Returns how many rows have become PUBLISHED. Throws DatabaseError, also
/// when statements succeed and a row still does not change (row security, a rule or a trigger of PostgreSQL).
int write_outcomes(Transaction& transaction, const std::vector<Outcome>& outcomes, bool delete_published);

/// Before that, in the same transaction: takes out of `outcomes` those whose rows other transactions have
/// locked (PostgreSQL), and has the rest written without waiting. `why` then says who waits for whom.
[[nodiscard]] std::vector<Outcome> take_locked(Transaction& transaction, std::vector<Outcome>& outcomes,
                                               std::string& why);

/// Not in a transaction: the same with the lease's renewal and the processor's record in one round trip,
/// where all are published and no pooler takes our settings away. False when something is left to be done in
/// a transaction; true also when the lease turns out to be lost.
[[nodiscard]] bool write_at_once(Database& database, Lease& lease, const std::vector<Outcome>& outcomes,
                                 const ProcessorStatus& status, bool delete_published);

/// In the same transaction as the outcomes. `published` is by how much that changed the number of PUBLISHED
/// rows. Their count is kept in the record, since counting them takes longer the more there are; the first
/// write counts them.
void write_processor_record(Transaction& transaction, const ProcessorStatus& status, std::int64_t published);

}  // namespace tidings
