#pragma once

// To how many partitions an outbox is published, so that a processor with another number is noticed. It is
// told by the name of a row in outbox_state, `partitions=16`; an outbox that was never published otherwise
// than to one has no such row. The stream would tell as well, but a relay has no right to read messages.

#include <tidings/database.hpp>

#include <optional>

namespace tidings {

/// Notes the number. Returns the one before; empty when nothing was published yet, as far as can be seen.
/// Throws DatabaseError.
std::optional<int> note_partitions(Transaction& transaction, int partitions);

}  // namespace tidings
