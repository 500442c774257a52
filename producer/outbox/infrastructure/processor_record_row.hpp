#pragma once

// The row of outbox_state: the processor's record, and with it the count of PUBLISHED rows. It is kept up to
// date as they come and go, since counting them takes longer the more there are.

#include <tidings/database.hpp>
#include <tidings/processor_record.hpp>

#include <cstdint>
#include <optional>

namespace tidings {

/// In a transaction whose lease was checked. `published` is by how much that transaction changed the number
/// of PUBLISHED rows; the first write counts them. Throws DatabaseError.
void write_processor_record(Transaction& transaction, const ProcessorStatus& status, std::int64_t published);

/// Empty before the first processor. Throws DatabaseError.
[[nodiscard]] std::optional<ProcessorRecord> read_processor_record(Database& database);

}  // namespace tidings
