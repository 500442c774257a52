#pragma once

// A service's database, opened the way that the outbox needs it: SQLite or
// PostgreSQL. What is the same in both is written once, on exec(); what is not has
// a class for each, made by outbox(), outcomes() and CommitWatch::open().

#include <tidings/error.hpp>
#include <tidings/timestamp.hpp>

#include <SQLiteCpp/Exception.h>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tidings {

class Database;
class OutcomeStore;
class OutboxRepository;

/// A write transaction. Commits when asked; rolls back when destroyed before that.
class Transaction {
 public:
  /// SQLite: takes the write lock at once, so that a later statement cannot fail for a stale snapshot.
  /// PostgreSQL: READ COMMITTED. Throws a retryable DatabaseError when the lock is not free within the
  /// busy timeout, or the server cannot be reached.
  explicit Transaction(Database& database);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Throws DatabaseError when the database refuses; everything is rolled back then.
  void commit();

  /// `action` runs right after the commit, and never when it fails: for what an object remembers of
  /// a write. Must not throw; what it refers to must outlive the commit.
  void on_commit(std::function<void()> action);

  [[nodiscard]] Database& database() noexcept { return database_; }

 private:
  Database& database_;
  std::vector<std::function<void()>> committed_;
  bool open_ = true;
};

/// Of a statement.
using SqlValue = std::variant<std::int64_t, std::string>;

/// What a statement returned.
struct SqlRows {
  std::vector<std::optional<std::string>> cells;  ///< row after row; NULL is empty
  std::size_t columns = 0;
  std::int64_t affected = 0;  ///< rows inserted, updated or deleted

  [[nodiscard]] bool empty() const noexcept { return cells.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return columns == 0 ? 0 : cells.size() / columns; }
  [[nodiscard]] std::string text(std::size_t row, std::size_t column) const;  ///< empty for NULL
  [[nodiscard]] std::int64_t integer(std::size_t row, std::size_t column) const;
};

/// One connection; not thread-safe. Each thread opens its own.
class Database {
 public:
  enum class Open {
    existing,
    create,     ///< SQLite: a missing file is made, its folder is not
    processor,  ///< existing, for one who reads and marks rows in order, and calls maintain()
  };

  /// `url` as in DATABASE_URL: `sqlite:PATH`, `file:PATH`, `postgresql://…`. Throws SettingError for
  /// another kind, and DatabaseError naming the database and what to do.
  [[nodiscard]] static std::unique_ptr<Database> open(const std::string& url, Open mode = Open::existing);

  enum class Kind { sqlite, postgresql };
  [[nodiscard]] virtual Kind kind() const noexcept = 0;

  Database() = default;
  virtual ~Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// Creates the outbox's tables and indexes that are missing. `own_tables` is a script of the service's
  /// own, run in the same transaction: either all of it is there afterwards or nothing has changed. One
  /// process at a time; the outbox's part is idempotent, and so should the service's be.
  void migrate(std::string_view own_tables = {});

  /// PostgreSQL: lets the relay be woken by other writers' commits too. Throws SettingError for SQLite, which
  /// needs no trigger.
  virtual void add_notify_trigger() = 0;

  /// Throws DatabaseError "run `auth-service migrate`" when the outbox or its lease is not there, or
  /// lacks a column.
  virtual void require_schema() = 0;

  /// Both refer to this database, and throw DatabaseError when the table is not there.
  [[nodiscard]] virtual std::unique_ptr<OutboxRepository> outbox() = 0;
  [[nodiscard]] virtual std::unique_ptr<OutcomeStore> outcomes() = 0;

  /// Runs `work(Transaction&)` and commits; rolls back when it throws. Throws a retryable
  /// DatabaseError when the lock is not free within the busy timeout of 5 s.
  template <std::invocable<Transaction&> Work>
  void transact(Work&& work) {
    Transaction transaction{*this};
    std::forward<Work>(work)(transaction);
    transaction.commit();
  }

  /// One statement in the SQL that both engines read: names in double quotes where they are not lower
  /// case, parameters $1, $2… Throws SqlError.
  template <class... Values>
  SqlRows exec(const std::string& statement, const Values&... values) {
    return run(statement, {value(values)...});
  }

  /// The clock that all who share the database agree on.
  [[nodiscard]] virtual Timestamp time() = 0;

  /// What a commit would otherwise do for its caller now and then (SQLite: move the WAL). Throws
  /// DatabaseError.
  virtual void maintain() {}

  /// For people; without password.
  [[nodiscard]] virtual std::string name() const = 0;

  /// Throws DatabaseError when the transaction is on another connection.
  void require_own(Transaction& transaction) const;

 private:
  friend Transaction;

  template <class Value>
  static SqlValue value(const Value& given) {
    if constexpr (std::is_integral_v<Value>)
      return static_cast<std::int64_t>(given);
    else
      return std::string{given};
  }

  virtual void create_tables(const std::string& own_tables) = 0;
  virtual SqlRows run(const std::string& statement, const std::vector<SqlValue>& values) = 0;
  virtual void begin() = 0;
  virtual void commit() = 0;
  virtual void roll_back() noexcept = 0;
};

/// What the engine said, without what was attempted: attempt() adds that.
class SqlError : public DatabaseError {
 public:
  using DatabaseError::DatabaseError;
};

/// SQLite's words, and what to do; retryable for a lock, a full disk, an I/O error.
[[nodiscard]] SqlError sql_error(const SQLite::Exception& error);

/// Does `work`. What the engine refuses becomes "cannot <action>: <why>; <what to do>".
template <class Work>
decltype(auto) attempt(std::string_view action, Work&& work) {
  const auto failed = [action](const SqlError& error) {
    return DatabaseError("cannot " + std::string(action) + ": " + error.what(),
                         error.retryable() ? Error::Retry::yes : Error::Retry::no);
  };
  try {
    return std::forward<Work>(work)();
  } catch (const SqlError& error) {
    throw failed(error);
  } catch (const SQLite::Exception& error) {
    throw failed(sql_error(error));
  }
}

}  // namespace tidings
