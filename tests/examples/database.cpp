#include <tidings/database.hpp>

#include <string>

void rename(tidings::Database& database, const std::string& id, const std::string& name) {
  database.transact(
      [&](tidings::Transaction&) { database.exec("UPDATE account SET name = $2 WHERE id = $1", id, name); });
}
