#pragma once

// A service's database, opened the way that the outbox needs it: SQLite or PostgreSQL. What is the same in
// both is written once, on exec(); what differs has a class for each engine, made by open() and outbox().

#include <tidings/error.hpp>
#include <tidings/timestamp.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace tidings {

class Database;
class OutboxRepository;

/// Commits when asked; rolls back when destroyed before that.
class Transaction {
 public:
  enum class Access {
    write,  ///< SQLite: takes the write lock at once, as a later statement could fail for a stale snapshot.
            ///< PostgreSQL: READ COMMITTED.
    read    ///< all that is read is as of one moment
  };

  /// Throws a retryable DatabaseError when the lock is not free within the busy timeout or no server answers.
  explicit Transaction(Database& database, Access access = Access::write);
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

using Bytes = std::vector<std::byte>;

/// The value of a parameter of a statement; std::monostate is NULL.
using SqlValue = std::variant<std::monostate, std::int64_t, double, std::string, Bytes>;

/// What a statement returned.
struct SqlRows {
  /// Row after row, as text or the bytes of a binary; NULL is empty.
  std::vector<std::optional<std::string>> cells;
  std::size_t columns = 0;
  std::int64_t affected = 0;  ///< rows inserted, updated or deleted

  [[nodiscard]] bool empty() const noexcept { return cells.empty(); }
  [[nodiscard]] std::size_t size() const noexcept { return columns == 0 ? 0 : cells.size() / columns; }
  [[nodiscard]] std::string text(std::size_t row, std::size_t column) const;      ///< empty for NULL
  [[nodiscard]] std::int64_t integer(std::size_t row, std::size_t column) const;  ///< 0 for what is none
  [[nodiscard]] double real(std::size_t row, std::size_t column) const;           ///< 0 for what is none
  [[nodiscard]] Bytes bytes(std::size_t row, std::size_t column) const;           ///< none for NULL
  [[nodiscard]] bool is_null(std::size_t row, std::size_t column) const;
};

/// One connection; not thread-safe. Each thread opens its own.
class Database {
 public:
  /// On PostgreSQL the session of a service is as the server makes it. The last three set what the outbox's
  /// own statements need: plans that do not depend on statistics, and a lock timeout of 5 s.
  enum class Open {
    existing,
    create,      ///< SQLite: a missing file is made, its folder is not
    operations,  ///< existing; for those who look after an outbox, and may change its rows
    processor,   ///< existing; for the outbox processor, which reads rows in order and calls maintain()
    reading,     ///< existing; for those who only look: not even SQLite's journal mode is changed
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

  /// Creates what is missing of the outbox's tables and indexes, then does as require_schema(). `own_tables`
  /// is a script of the service's own, in the same transaction: all of it is there afterwards or nothing has
  /// changed. One process at a time; the outbox's part is idempotent, and so should the service's be.
  void migrate(std::string_view own_tables = {});

  /// PostgreSQL: wakes the relay after other writers' commits, too. SQLite needs none, and throws
  /// SettingError.
  virtual void add_notify_trigger() = 0;

  /// Throws DatabaseError "run the service's migration" when a table of the outbox or a column is missing,
  /// and one that names each column of outbox_event whose type does not work, with what to do.
  void require_schema();

  /// The repository uses this database and must not outlive it. Throws DatabaseError when there is no table.
  [[nodiscard]] virtual std::unique_ptr<OutboxRepository> outbox() = 0;

  /// Runs `work(Transaction&)` and commits; rolls back when it throws. SQLite: throws a retryable
  /// DatabaseError when the lock is not free within the busy timeout of 5 s.
  template <std::invocable<Transaction&> Work>
  void transact(Work&& work) {
    Transaction transaction{*this};
    std::forward<Work>(work)(transaction);
    transaction.commit();
  }

  /// One statement in the SQL that both engines read: names in double quotes where they are not lower
  /// case, parameters $1, $2… Values are numbers, bool (1 and 0), texts, bytes (BLOB, bytea), nullptr or
  /// std::nullopt for NULL, and std::optional of them. Throws SqlError.
  template <class... Values>
  SqlRows exec(const std::string& statement, const Values&... values) {
    return run(statement, {value(values)...});
  }

  /// The clock that all users of the database agree on.
  [[nodiscard]] virtual Timestamp time() = 0;

  /// Does the upkeep that some commit would otherwise make its caller wait for (SQLite: the checkpoint of the
  /// WAL). Throws DatabaseError.
  virtual void maintain() {}

  /// SQLite: why this connection is of no use any more, its file having been replaced or deleted while it was
  /// open; what it writes would be gone. Empty while all is well. Told within a second or so; from then on
  /// transactions that write throw DatabaseError. To be called outside of transactions.
  [[nodiscard]] virtual std::string lost() { return {}; }

  /// For messages to people; contains no password.
  [[nodiscard]] virtual std::string name() const = 0;

  /// PostgreSQL through a pooler, which keeps no settings from one transaction to the next.
  [[nodiscard]] virtual bool pooled() const noexcept { return false; }

  /// PostgreSQL: from now on, a statement that meets a lock gives up after so long (5 s unless this is
  /// called).
  virtual void wait_for_locks(std::chrono::milliseconds /*at_most*/) {}

  /// PostgreSQL: what another thread waits for on this connection fails like a lost connection, and so does
  /// all that is tried later. Thread-safe. In SQLite, waiting ends with the busy timeout.
  virtual void give_up() noexcept {}

  /// Throws DatabaseError when the transaction is on another connection.
  void require_own(Transaction& transaction) const;

 private:
  friend Transaction;

  template <class Value>
  static SqlValue value(const Value& given) {
    if constexpr (std::is_null_pointer_v<Value> || std::is_same_v<Value, std::nullopt_t>) {
      return std::monostate{};
    } else if constexpr (std::is_integral_v<Value>) {
      return static_cast<std::int64_t>(given);
    } else if constexpr (std::is_floating_point_v<Value>) {
      return static_cast<double>(given);
    } else if constexpr (std::is_convertible_v<const Value&, std::string_view>) {
      return std::string{std::string_view{given}};
    } else if constexpr (std::is_convertible_v<const Value&, std::span<const std::byte>>) {
      const std::span<const std::byte> bytes{given};
      return Bytes{bytes.begin(), bytes.end()};
    } else {
      return given ? value(*given) : SqlValue{};  // a std::optional
    }
  }

  virtual void create_tables(const std::string& own_tables) = 0;
  virtual SqlRows run(const std::string& statement, const std::vector<SqlValue>& values) = 0;
  virtual void begin(Transaction::Access access) = 0;
  virtual void commit() = 0;
  virtual void roll_back() noexcept = 0;
};

/// The engine's own words, without what was attempted: attempt() adds that.
struct SqlError : DatabaseError {
  using DatabaseError::DatabaseError;
};

/// Called from a catch block: throws DatabaseError "cannot <action>: <why>; <what to do>" for what the engine
/// has refused, and rethrows everything else.
[[noreturn]] void rethrow_refused(std::string_view action);

/// Does `work`, and names `action` in the error when the engine refuses it.
template <class Work>
decltype(auto) attempt(std::string_view action, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (...) {
    rethrow_refused(action);
  }
}

}  // namespace tidings
