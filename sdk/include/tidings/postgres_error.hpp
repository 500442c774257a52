#pragma once

// Why PostgreSQL did not do something, with its SQLSTATE.

#include <tidings/error.hpp>

#include <string>

namespace tidings {

/// The server refuses a statement, or cannot be reached. Retryable when the cause is not the statement:
/// connection, shutdown, deadlock, serialization, disk, memory, a server that only reads, a plan that was
/// made before a table changed.
///
///     } catch (const tidings::PostgresError& error) {
///       if (error.sqlstate() != "23505") throw;  // unique_violation
class PostgresError : public DatabaseError {
 public:
  /// Which statement failed. A plan that the session kept may have become invalid.
  enum class Of { statement, queued_statement, kept_plan };

  /// `what` may be libpq's own text: it is put on one line.
  PostgresError(const std::string& what, std::string sqlstate, Of of = Of::statement);

  /// Five characters (PostgreSQL manual, appendix A); empty when the connection was lost.
  [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }

  /// A statement that was queued is refused, and not the one that threw.
  [[nodiscard]] bool queued() const noexcept { return of_ == Of::queued_statement; }
  /// The statement ran into statement_timeout, or was cancelled.
  [[nodiscard]] bool cancelled() const noexcept { return sqlstate_ == "57014"; }

 private:
  std::string sqlstate_;
  Of of_;
};

}  // namespace tidings
