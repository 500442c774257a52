#pragma once

// A service's database in PostgreSQL. A connection that is lost is made again.

#include <tidings/database.hpp>
#include <tidings/outbox_insert.hpp>
#include <tidings/postgres_connection.hpp>

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

namespace tidings {

/// How writers know that the relay's watch needs a notification: while it waits for one it holds this
/// advisory lock exclusively, and a writer that cannot share it notifies. See
/// schema/postgres_notify_trigger.sql.
namespace wake_lock {
inline const std::string key = "(1952738667, 'outbox_event'::regclass::oid::integer)";
/// In the writer's transaction.
inline const std::string notify_if_held = outbox_insert::postgresql_wake;
inline const std::string listen = "LISTEN outbox_event";
inline const std::string try_hold = "SELECT pg_try_advisory_lock" + key;
inline const std::string give_up = "SELECT pg_advisory_unlock" + key;
}  // namespace wake_lock

class PostgresDatabase final : public Database {
 public:
  /// Connects. Throws DatabaseError, not retryable when the server has no such login or database.
  explicit PostgresDatabase(const std::string& url, Open mode = Open::existing);

  [[nodiscard]] Kind kind() const noexcept override { return Kind::postgresql; }
  void add_notify_trigger() override;
  [[nodiscard]] std::unique_ptr<OutboxRepository> outbox() override;
  [[nodiscard]] Timestamp time() override;
  [[nodiscard]] std::string name() const override { return connection_.name(); }
  [[nodiscard]] bool pooled() const noexcept override { return connection_.pooled(); }
  void wait_for_locks(std::chrono::milliseconds at_most) override;
  void give_up() noexcept override;

  /// Like exec(), also with values that are std::optional: NULL when empty. Throws SqlError.
  template <class... Values>
  SqlRows query(const std::string& statement, const Values&... values) {
    return read(guard([&] { return connection_.exec(statement, values...); }));
  }
  /// Goes with the next statement; its error is that statement's.
  template <class... Values>
  void queue(const std::string& statement, const Values&... values) {
    connection_.queue(statement, values...);
  }
  /// As queue(), for a statement whose plan must not read the whole table, however few rows it had when the
  /// session made the plan that it keeps.
  template <class... Values>
  void queue_by_index(const std::string& statement, const Values&... values) {
    if (!is_service()) return queue(statement, values...);
    queue("SET LOCAL enable_seqscan = off");
    queue(statement, values...);
    queue("SET LOCAL enable_seqscan TO DEFAULT");
  }
  /// Grows with each reconnect. What an earlier connection has told of transactions need not hold on a later
  /// one: it may lead to another server, whose ids are lower.
  [[nodiscard]] int session() const noexcept { return session_; }
  /// The relay is told of this transaction's events when it commits.
  void wake_relay_at_commit() noexcept { wake_ = true; }

 private:
  void create_tables(const std::string& own_tables) override;
  SqlRows run(const std::string& statement, const std::vector<SqlValue>& values) override;
  void begin(Transaction::Access access) override;
  void commit() override;
  void roll_back() noexcept override;
  /// Whose statements are a service's own, for which nothing is set.
  [[nodiscard]] bool is_service() const noexcept { return mode_ == Open::existing || mode_ == Open::create; }
  void connect();
  void script(const std::string& statements);
  [[nodiscard]] static SqlRows read(const PostgresRows& rows);
  [[nodiscard]] SqlError sql_error(const PostgresError& error) const;

  /// Connects again when it must, and does `work`.
  template <class Work>
  decltype(auto) guard(Work&& work) {
    try {
      if (!in_transaction_) connect();
      return std::forward<Work>(work)();
    } catch (const PostgresError& error) {
      throw sql_error(error);
    }
  }

  PostgresConnection connection_;
  int session_ = 0;
  std::string login_;  // as SQL names it; not for a service
  Open mode_;
  std::chrono::milliseconds lock_timeout_{5000};  // as long as SQLite's
  std::atomic<bool> given_up_{false};
  bool in_transaction_ = false;
  bool wake_ = false;
};

}  // namespace tidings
