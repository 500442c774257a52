#include <tidings/postgres_connection.hpp>

std::int64_t count_of(const std::string& name) {
  tidings::PostgresConnection database{"postgresql://mailer@db.example.org/welcome"};
  database.connect();
  return database.exec("SELECT count(*) FROM account WHERE name = $1", name).integer(0, 0);
}
