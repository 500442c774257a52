#pragma once

// Handlers must not end the transaction that their event is handled in. They send one statement at a time,
// so its first words are enough to tell.

#include <string_view>

namespace tidings {

/// COMMIT, END, ABORT, PREPARE TRANSACTION, and ROLLBACK other than to a savepoint. Does no I/O.
[[nodiscard]] bool ends_transaction(std::string_view statement);

}  // namespace tidings
