#pragma once

// A connection to PostgreSQL, for statements on the inbox's own tables.

#include "inbox/table_names.hpp"

#include <tidings/postgres_connection.hpp>

#include <string>
#include <utility>

namespace tidings {

/// As the functions of PostgresConnection.
class PostgresTables {
 public:
  PostgresTables(PostgresConnection& connection, std::string prefix)
      : connection_(connection), names_(std::move(prefix)) {}

  template <class... Values>
  PostgresRows exec(const std::string& statement, const Values&... values) {
    return connection_.exec(names_.in(statement), values...);
  }
  template <class... Values>
  PostgresRows plan_and_exec(const std::string& statement, const Values&... values) {
    return connection_.plan_and_exec(names_.in(statement), values...);
  }
  void script(const std::string& statements) { connection_.script(names_.in(statements)); }
  void queue(const std::string& statement) { connection_.queue(statement); }
  void rollback() noexcept { connection_.rollback(); }

 private:
  PostgresConnection& connection_;
  TableNames names_;
};

}  // namespace tidings
