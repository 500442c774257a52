#pragma once

// The inbox's tables in a SQLite file.

namespace SQLite {
class Database;
}

namespace tidings {

/// Makes what is missing of them, new columns of older tables included. Several processes may do so at once.
/// Throws SQLite::Exception.
void make_inbox_tables(SQLite::Database& database);

}  // namespace tidings
