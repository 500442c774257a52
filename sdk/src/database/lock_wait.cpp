#include "database/lock_wait.hpp"

#include <SQLiteCpp/Column.h>
#include <sqlite3.h>

#include <algorithm>
#include <thread>

namespace tidings {
namespace {

using std::chrono::microseconds;

constexpr microseconds shortest{100}, longest{1000};
// After them, the holder of the lock is slow: one try a millisecond is enough.
constexpr int short_waits = 200;

int wait_once(void* limit, int waited) {
  const auto total = shortest * std::min(waited, short_waits) + longest * std::max(0, waited - short_waits);
  if (total >= *static_cast<const std::chrono::milliseconds*>(limit)) return 0;
  std::this_thread::sleep_for(waited < short_waits ? shortest : longest);
  return 1;
}

}  // namespace

void wait_for_locks(sqlite3* connection, const std::chrono::milliseconds& limit) {
  sqlite3_busy_handler(connection, wait_once, const_cast<std::chrono::milliseconds*>(&limit));
}

std::string switch_to_wal(SQLite::Database& database, std::chrono::milliseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    try {
      return database.execAndGet("PRAGMA journal_mode=WAL").getString();
    } catch (const SQLite::Exception& error) {
      if (error.getErrorCode() != SQLITE_BUSY || std::chrono::steady_clock::now() >= deadline) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
  }
}

}  // namespace tidings
