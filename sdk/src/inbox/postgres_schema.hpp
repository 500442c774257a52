#pragma once

// The inbox's tables in PostgreSQL.

namespace tidings {

class PostgresConnection;

/// Makes what is missing of them, new columns of older tables included, in the schema that the login's search
/// path names. Several processes may do so at once; a login that may make nothing needs them to be complete.
/// Throws PostgresError.
void make_inbox_tables(PostgresConnection& database);

}  // namespace tidings
