#pragma once

// What the active processor says of itself, in a row beside its lease: for those who
// look from another process (`tidings outbox stats`). Also the count of PUBLISHED rows,
// kept as they are marked and deleted, since to count them takes longer the more there are.

#include <tidings/database.hpp>
#include <tidings/timestamp.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace tidings {

struct ProcessorRecord {
  std::string phase;
  Timestamp since;
  std::string trouble;  ///< why it waits; empty otherwise
  std::int64_t in_flight = 0;
};

/// As stored, with who wrote it.
struct StoredProcessorRecord {
  ProcessorRecord state;
  Timestamp written_at;
  std::int64_t published = 0;  ///< rows that are PUBLISHED
  std::string holder;
  std::int64_t epoch = 0;
  Timestamp expires_at;  ///< of the lease; the epoch itself when it was handed back
};

/// In a transaction whose fence was checked. `published` is by how much the number of PUBLISHED rows
/// changed in it. The first write counts them. Throws DatabaseError.
void write_state(Transaction& transaction, const ProcessorRecord& state, std::int64_t published);

/// Empty before the first processor. Throws DatabaseError.
[[nodiscard]] std::optional<StoredProcessorRecord> read_state(Database& database);

}  // namespace tidings
