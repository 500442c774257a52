#include <tidings/postgres_error.hpp>
#include <tidings/postgres_rows.hpp>

#include <libpq-fe.h>

#include <charconv>
#include <memory>

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

bool PostgresRows::is_binary(int column) const noexcept {
  constexpr Oid bytea = 17;
  return PQftype(result_.get(), column) == bytea;
}

std::string PostgresRows::bytes(int row, int column) const {
  std::size_t size = 0;
  const auto* const text = reinterpret_cast<const unsigned char*>(PQgetvalue(result_.get(), row, column));
  const std::unique_ptr<unsigned char, decltype(&PQfreemem)> bytes{PQunescapeBytea(text, &size), PQfreemem};
  if (bytes == nullptr)
    throw DatabaseError("cannot read bytes of column " + std::to_string(column) + ": no memory");
  return {reinterpret_cast<const char*>(bytes.get()), size};
}

std::int64_t PostgresRows::integer(int row, int column) const {
  const auto digits = text(row, column);
  const auto* const end = digits.data() + digits.size();
  std::int64_t number = 0;
  if (const auto read = std::from_chars(digits.data(), end, number);
      read.ec != std::errc{} || read.ptr != end)
    throw DatabaseError("\"" + std::string{digits} + "\" in column " + std::to_string(column) +
                        " is not a whole number of 64 bits: cast it, or read it with text()");
  return number;
}

}  // namespace tidings
