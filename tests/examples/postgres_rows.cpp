#include <tidings/postgres_rows.hpp>

#include <string>

std::string first_address(const tidings::PostgresRows& rows) {
  return rows.empty() || rows.is_null(0, 0) ? "" : std::string{rows.text(0, 0)};
}
