#pragma once

// Moves what is in the WAL to the database file. SQLite would do that within the
// commit that makes the WAL large: its caller would wait, and the next outcomes too.

#include <SQLiteCpp/Database.h>

struct sqlite3;

namespace tidings {

/// Takes the place of SQLite's own checkpoints on one connection; belongs to the connection's thread.
class Checkpointer {
 public:
  explicit Checkpointer(SQLite::Database& database);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  /// After a commit: when the WAL has become large. Neither waits for readers and writers nor keeps
  /// them waiting. Throws SQLite::Exception when the disk fails.
  void run_if_due();

 private:
  static int on_commit(void* self, sqlite3* connection, const char* name, int pages);

  SQLite::Database& database_;
  int pages_ = 0;  // in the WAL
};

}  // namespace tidings
