#pragma once

// What handlers of a PostgresInbox are given: their event's transaction. Only the inbox ends it.

#include <tidings/postgres_connection.hpp>

#include <cstdint>
#include <string>

namespace tidings {

/// Statements with $1, $2…; values as PostgresConnection::exec() takes them. COMMIT and ROLLBACK (other than
/// to a savepoint) are refused with a PostgresError of SQLSTATE 2D000. Not thread-safe.
///
///     tx.queue("INSERT INTO welcome_email VALUES ($1, $2)", user.userId, user.email);
class PostgresTransaction {
 public:
  explicit PostgresTransaction(PostgresConnection& connection) noexcept : connection_(connection) {}

  /// Returns how many rows the statement has inserted, updated or deleted. Throws PostgresError.
  template <class... Values>
  std::int64_t exec(const std::string& statement, const Values&... values) {
    return query(statement, values...).affected();
  }

  /// Returns the rows of the statement. Throws PostgresError.
  template <class... Values>
  PostgresRows query(const std::string& statement, const Values&... values) {
    return connection_.exec(statement, values...);
  }

  /// Sends the statement together with the next one, this handler's or another's: it costs no round trip.
  /// When PostgreSQL refuses it, the transaction's events are handled again one by one: its own event fails.
  template <class... Values>
  void queue(const std::string& statement, const Values&... values) {
    connection_.queue(statement, values...);
  }

  /// Runs `work` so that it can be undone alone: when it throws, what it wrote is rolled back. Rethrows.
  template <class Work>
  void savepoint(Work&& work) {
    connection_.exec("SAVEPOINT handler");
    try {
      work();
      connection_.flush();
    } catch (...) {
      connection_.exec("ROLLBACK TO SAVEPOINT handler");
      connection_.queue("RELEASE SAVEPOINT handler");  // or the one around it would be shadowed
      throw;
    }
    connection_.queue("RELEASE SAVEPOINT handler");
  }

 private:
  PostgresConnection& connection_;
};

}  // namespace tidings
