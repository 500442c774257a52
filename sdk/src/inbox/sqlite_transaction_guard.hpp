#pragma once

// Handlers share the inbox's connection to SQLite. This keeps them from ending its transaction, and from
// leaving statements behind that would block it.

struct sqlite3;
struct sqlite3_stmt;

namespace tidings {

/// Installed once on a connection: an authorizer refuses what a handler prepares to end the transaction or to
/// use the inbox's savepoint, and hooks turn every other COMMIT within the transaction into a rollback and
/// notice each rollback. The connection must outlive it.
class SqliteTransactionGuard {
 public:
  explicit SqliteTransactionGuard(sqlite3* connection);
  ~SqliteTransactionGuard();
  SqliteTransactionGuard(const SqliteTransactionGuard&) = delete;
  SqliteTransactionGuard& operator=(const SqliteTransactionGuard&) = delete;

  /// While it lives, the inbox itself begins and ends its transaction and savepoint.
  class Own {
   public:
    explicit Own(SqliteTransactionGuard& guard) noexcept : guard_(guard) { guard_.own_ = true; }
    ~Own() { guard_.own_ = false; }
    Own(const Own&) = delete;
    Own& operator=(const Own&) = delete;

   private:
    SqliteTransactionGuard& guard_;
  };

  /// `prepare` prepares the inbox's own statements, which reset_statements() need not look at: it is called
  /// for each event.
  template <class Prepare>
  void prepare_own(Prepare&& prepare) {
    const Own own{*this};
    auto* const before = newest_statement();
    prepare();
    remember_own(before);
  }

  void begun() noexcept;  ///< from now on the transaction is guarded
  void ended() noexcept;

  [[nodiscard]] bool kept() const noexcept { return state_ == State::guarded; }
  /// Throws DatabaseError when the transaction was ended by someone else.
  void require_kept() const;
  /// Throws as well when ending it was tried and refused.
  void require_not_tried() const;
  void forget_tries() noexcept { end_tried_ = false; }
  /// What a handler must not do, when it has done that since begun() or forget_tries(); empty otherwise.
  [[nodiscard]] const char* complaint() const noexcept;

  /// Resets statements that were stepped and left so: an open read keeps the connection from writing once
  /// another process has written, an open write from committing. The first one is logged.
  void reset_statements();

 private:
  static int authorize(void* guard, int action, const char* operation, const char* name, const char*,
                       const char*);
  static int on_commit(void* guard);
  static void on_rollback(void* guard);

  [[nodiscard]] sqlite3_stmt* newest_statement() const noexcept;
  void remember_own(sqlite3_stmt* before) noexcept;

  enum class State { none, guarded, lost };

  sqlite3* const connection_;
  // SQLite lists statements from the newest to the oldest: the inbox's stand side by side there.
  sqlite3_stmt* newest_own_ = nullptr;
  sqlite3_stmt* oldest_own_ = nullptr;
  State state_ = State::none;
  bool own_ = false;
  bool end_tried_ = false;
  bool warned_ = false;
};

}  // namespace tidings
