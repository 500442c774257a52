#pragma once

// A service's SQLite file, opened the way that the outbox needs it.

#include <tidings/error.hpp>
#include <tidings/timestamp.hpp>

#include <SQLiteCpp/Database.h>
#include <SQLiteCpp/Statement.h>

#include <chrono>
#include <concepts>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tidings {

/// A write transaction. Commits when asked; rolls back when destroyed before that.
class Transaction {
 public:
  /// Takes the write lock at once, so that a later statement cannot fail for a stale snapshot.
  /// Throws a retryable DatabaseError when the lock is not free within the busy timeout.
  explicit Transaction(SQLite::Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Throws DatabaseError when the database refuses; everything is rolled back then.
  void commit();

  /// `action` runs right after the commit, and never when it fails: for what an object remembers of
  /// a write. Must not throw; what it refers to must outlive the commit.
  void on_commit(std::function<void()> action);

  [[nodiscard]] SQLite::Database& database() noexcept { return database_; }

 private:
  void roll_back() noexcept;

  SQLite::Database& database_;
  std::vector<std::function<void()>> committed_;
  bool open_ = true;
};

/// One connection; not thread-safe. Each thread opens its own.
class Database {
 public:
  enum class Open { existing, create };

  /// WAL, synchronous=FULL. With `create` a missing file is made, its folder is not. `path` is always
  /// a path, never an SQLite URI. Throws DatabaseError naming the file and what to do: not retryable
  /// for a file that is missing, not allowed or no database.
  explicit Database(const std::string& path, Open open = Open::existing);

  /// Makes the tables and indexes that are missing, all or none. Idempotent, also when several
  /// processes do it at once.
  void migrate();

  /// Throws DatabaseError "run `auth-service migrate`" when the outbox or its lease is not there, or
  /// lacks a column.
  void require_schema();

  /// Runs `work(Transaction&)` and commits; rolls back when it throws. Throws a retryable
  /// DatabaseError when the lock is not free within the busy timeout of 5 s.
  template <std::invocable<Transaction&> Work>
  void transact(Work&& work) {
    Transaction transaction{handle_};
    std::forward<Work>(work)(transaction);
    transaction.commit();
  }

  /// Throws DatabaseError when the transaction is on another connection.
  void require_own(Transaction& transaction) const;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] SQLite::Database& handle() noexcept { return handle_; }

 private:
  std::string path_;
  SQLite::Database handle_;
};

/// Turns SQLite's exception into ours, "cannot <action>: <why>; <what to do>"; retryable for a lock,
/// a full disk, an I/O error.
[[nodiscard]] DatabaseError describe(const SQLite::Exception& error, const std::string& action);

/// A time column, whichever way the writer stored it (ISO text, `YYYY-MM-DD HH:MM:SS`, epoch
/// milliseconds). The epoch itself (`Timestamp{}`) when it is NULL or cannot be read: a foreign
/// writer's odd time must not stop the row.
[[nodiscard]] Timestamp read_time(const SQLite::Column& column);

}  // namespace tidings
