#pragma once

// A service's SQLite file.

#include "database/sqlite_file.hpp"

#include <tidings/database.hpp>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

struct sqlite3;

namespace tidings {

class SqliteDatabase final : public Database {
 public:
  /// WAL, synchronous=FULL. `path` is always a path, never an SQLite URI. Throws DatabaseError naming the
  /// file and what to do: not retryable for a file that is missing, not allowed or not a database.
  explicit SqliteDatabase(const std::string& path, Open open = Open::existing);

  [[nodiscard]] Kind kind() const noexcept override { return Kind::sqlite; }
  void add_notify_trigger() override;
  [[nodiscard]] std::unique_ptr<OutboxRepository> outbox() override;
  [[nodiscard]] Timestamp time() override { return now(); }
  /// Moves what is in the WAL to the database file, once the WAL is large. Neither waits for readers and
  /// writers nor keeps them waiting.
  void maintain() override;
  [[nodiscard]] std::string lost() override { return file_.lost(); }
  [[nodiscard]] std::string name() const override { return path_; }

  [[nodiscard]] SQLite::Database& handle() noexcept { return handle_; }

  /// Like exec(), with one row after the other instead of all at once, which costs twice as much where they
  /// are many. Returns how many rows were inserted, updated or deleted.
  std::int64_t each_row(const std::string& statement, const std::vector<SqlValue>& values,
                        const std::function<void(SqlRows& row)>& take);

 private:
  void create_tables(const std::string& own_tables) override;
  SqlRows run(const std::string& statement, const std::vector<SqlValue>& values) override;
  void begin(Transaction::Access access) override;
  void commit() override;
  void roll_back() noexcept override;
  static int note_wal_size(void* self, sqlite3* connection, const char* name, int pages);

  std::string path_;
  SQLite::Database handle_;
  SqliteFile file_;
  std::unordered_map<std::string, SQLite::Statement> statements_;  // prepared by run(), by their text
  int wal_pages_ = 0;  // Open::processor: in the WAL after the last commit
};

/// SQLite's words, and what to do; retryable for a lock, a full disk, an I/O error.
[[nodiscard]] SqlError sql_error(const SQLite::Exception& error);

}  // namespace tidings
