#pragma once

// A service's SQLite file.

#include "infrastructure/sqlite/checkpointer.hpp"

#include <tidings/database.hpp>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tidings {

class SqliteDatabase final : public Database {
 public:
  /// WAL, synchronous=FULL. `path` is always a path, never an SQLite URI. Throws DatabaseError naming the
  /// file and what to do: not retryable for a file that is missing, not allowed or no database.
  explicit SqliteDatabase(const std::string& path, Open open = Open::existing);

  [[nodiscard]] Kind kind() const noexcept override { return Kind::sqlite; }
  void add_notify_trigger() override;
  void require_schema() override;
  [[nodiscard]] std::unique_ptr<OutboxRepository> outbox() override;
  [[nodiscard]] std::unique_ptr<OutcomeStore> outcomes() override;
  [[nodiscard]] Timestamp time() override { return now(); }
  void maintain() override;
  [[nodiscard]] std::string name() const override { return path_; }

  [[nodiscard]] SQLite::Database& handle() noexcept { return handle_; }

 private:
  void create_tables(const std::string& own_tables) override;
  SqlRows run(const std::string& statement, const std::vector<SqlValue>& values) override;
  void begin() override;
  void commit() override;
  void roll_back() noexcept override;

  std::string path_;
  SQLite::Database handle_;
  std::unordered_map<std::string, SQLite::Statement> statements_;  // prepared by run(), by their text
  std::optional<Checkpointer> checkpointer_;
};

/// SQLite's words, and what to do; retryable for a lock, a full disk, an I/O error.
[[nodiscard]] SqlError sql_error(const SQLite::Exception& error);

}  // namespace tidings
