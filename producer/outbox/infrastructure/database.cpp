#include "infrastructure/column_types.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"
#ifdef TIDINGS_POSTGRES
#include "infrastructure/postgres/postgres_database.hpp"
#endif

#include <tidings/settings.hpp>

#include <charconv>

namespace tidings {

std::unique_ptr<Database> Database::open(const std::string& url, Open mode) {
  const auto place = DatabaseUrl::parse(url);
  if (place.kind == DatabaseUrl::Kind::sqlite) return std::make_unique<SqliteDatabase>(place.location, mode);
#ifdef TIDINGS_POSTGRES
  return std::make_unique<PostgresDatabase>(place.location, mode);
#else
  // The URL may hold a password: it is not repeated.
  throw SettingError(
      "DATABASE_URL names PostgreSQL, which this program was built without: takes sqlite:PATH");
#endif
}

void rethrow_refused(std::string_view action) {
  const auto refused = [action](const SqlError& error) {
    return DatabaseError("cannot " + std::string(action) + ": " + error.what(),
                         error.retryable() ? Error::Retry::yes : Error::Retry::no);
  };
  try {
    throw;
  } catch (const SqlError& error) {
    throw refused(error);
  } catch (const SQLite::Exception& error) {
    throw refused(sql_error(error));
  }
}

void Database::migrate(std::string_view own_tables) {
  attempt("create the tables in " + name(), [&] { create_tables(std::string{own_tables}); });
  require_schema();  // a table that was there already may be another one
}

void Database::require_schema() {
  attempt("use the outbox in " + name(), [&] {
    require_outbox_columns(*this);
    exec(R"sql(SELECT l.name, l.holder, l.epoch, l.beat, l."expiresAt" FROM outbox_lease AS l LIMIT 0)sql");
    exec(R"sql(SELECT s.name, s.phase, s.since, s.trouble, s."inFlight", s."writtenAt", s.published
               FROM outbox_state AS s LIMIT 0)sql");
  });
}

void Database::require_own(Transaction& transaction) const {
  if (&transaction.database() != this)
    throw DatabaseError("cannot write: the transaction is on another connection than its repository");
}

Transaction::Transaction(Database& database, Access access) : database_(database) {
  attempt("begin a transaction on " + database.name(), [&] { database_.begin(access); });
}

Transaction::~Transaction() {
  if (open_) database_.roll_back();
}

void Transaction::commit() {
  open_ = false;
  attempt("commit to " + database_.name(), [&] {
    try {
      database_.commit();
    } catch (...) {
      database_.roll_back();
      throw;
    }
  });
  for (const auto& action : committed_) action();
}

void Transaction::on_commit(std::function<void()> action) { committed_.push_back(std::move(action)); }

std::string SqlRows::text(std::size_t row, std::size_t column) const {
  return cells.at(row * columns + column).value_or("");
}

std::int64_t SqlRows::integer(std::size_t row, std::size_t column) const {
  const auto& digits = cells.at(row * columns + column);
  std::int64_t number = 0;
  if (digits) std::from_chars(digits->data(), digits->data() + digits->size(), number);
  return number;
}

double SqlRows::real(std::size_t row, std::size_t column) const {
  const auto& digits = cells.at(row * columns + column);
  double number = 0;
  if (digits) std::from_chars(digits->data(), digits->data() + digits->size(), number);
  return number;
}

Bytes SqlRows::bytes(std::size_t row, std::size_t column) const {
  const auto& cell = cells.at(row * columns + column);
  if (!cell) return {};
  const auto all = std::as_bytes(std::span{*cell});
  return {all.begin(), all.end()};
}

bool SqlRows::is_null(std::size_t row, std::size_t column) const { return !cells.at(row * columns + column); }

}  // namespace tidings
