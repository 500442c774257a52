#pragma once

// The inbox's tables in PostgreSQL.

#include <tidings/postgres_connection.hpp>

namespace tidings {

/// Creates the tables that are missing, and adds what is missing in older ones. A login without CREATE rights
/// needs them to be complete already, but for that of positions. False without that one.
[[nodiscard]] bool make_inbox_tables(PostgresConnection& database);

}  // namespace tidings
