#pragma once

#include <chrono>

struct sqlite3;

namespace tidings {

/// How long `connection` waits for another's write lock, looking often: SQLite's own wait soon sleeps
/// 100 ms at a time, and starves beside a process that commits in a tight loop. `limit` must be
/// static, since SQLite keeps its address.
void wait_for_locks(sqlite3* connection, const std::chrono::milliseconds& limit);

}  // namespace tidings
