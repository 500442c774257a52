#pragma once

// Whether the table outbox_event has the columns that the outbox needs, in types that it can work with. Other
// programs may have made it.

#include <tidings/database.hpp>

namespace tidings {

/// Throws SqlError when the table or a column is missing, or naming each column of a type that does not work,
/// with what to do.
void require_outbox_columns(Database& database);

}  // namespace tidings
