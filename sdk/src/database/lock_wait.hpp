#pragma once

#include <SQLiteCpp/Database.h>

#include <chrono>
#include <string>

namespace tidings {

/// Lets `connection` wait up to `limit` for another's write lock, with short sleeps: SQLite's own wait soon
/// sleeps 100 ms at a time, and starves beside a process that commits in a tight loop. `limit` must be
/// static, since SQLite keeps its address.
void wait_for_locks(sqlite3* connection, const std::chrono::milliseconds& limit);

/// Returns the journal mode that the file then has. The switch needs exclusive access for a moment, and
/// SQLite does not always wait for that: this does, up to `limit`. Throws SQLite::Exception.
std::string switch_to_wal(SQLite::Database& database, std::chrono::milliseconds limit);

}  // namespace tidings
