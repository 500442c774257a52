#pragma once

#include <chrono>
#include <string>

struct sqlite3;

namespace SQLite {
class Database;
}

namespace tidings {

/// How long `connection` waits for another's write lock, looking often: SQLite's own wait soon sleeps
/// 100 ms at a time, and starves beside a process that commits in a tight loop. `limit` must be
/// static, since SQLite keeps its address.
void wait_for_locks(sqlite3* connection, const std::chrono::milliseconds& limit);

/// Returns the journal mode that the file has then. The switch needs the file for itself for a moment, for
/// which SQLite does not always wait: so this does, for `limit`. Throws SQLite::Exception.
std::string switch_to_wal(SQLite::Database& database, std::chrono::milliseconds limit);

}  // namespace tidings
