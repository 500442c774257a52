#include <tidings/postgres_error.hpp>
#include <tidings/postgres_rows.hpp>

#include <libpq-fe.h>

#include <charconv>
#include <stdexcept>

namespace tidings {

PostgresRows::PostgresRows(PGresult* result) : result_(result, PQclear) {}

void PostgresRows::require() const {
  if (PQresultStatus(result_.get()) == PGRES_FATAL_ERROR)
    throw PostgresError(PQresultErrorMessage(result_.get()), sqlstate());
}

std::string PostgresRows::sqlstate() const {
  const char* state = PQresultErrorField(result_.get(), PG_DIAG_SQLSTATE);
  return state != nullptr ? state : "";
}

int PostgresRows::size() const noexcept { return PQntuples(result_.get()); }
int PostgresRows::columns() const noexcept { return PQnfields(result_.get()); }
std::string_view PostgresRows::command() const noexcept { return PQcmdStatus(result_.get()); }

std::int64_t PostgresRows::affected() const {
  const std::string_view text = PQcmdTuples(result_.get());
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

bool PostgresRows::is_null(int row, int column) const noexcept {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view PostgresRows::text(int row, int column) const noexcept {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::int64_t PostgresRows::integer(int row, int column) const {
  const auto digits = text(row, column);
  std::int64_t number = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), number).ec != std::errc{})
    throw std::out_of_range("\"" + std::string{digits} + "\" is not a whole number");
  return number;
}

}  // namespace tidings
