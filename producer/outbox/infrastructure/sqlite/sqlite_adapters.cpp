#include "infrastructure/sqlite/sqlite_database.hpp"

#include <tidings/outbox_adapters.hpp>
#include <tidings/outbox_insert.hpp>

#include <sqlite3.h>

#include <memory>

namespace tidings {
namespace {

void require(sqlite3* connection, int result, int expected) {
  if (result != expected) throw SQLite::Exception(connection, result);
}

}  // namespace

void add_to_outbox(sqlite3* connection, const DomainEvent& event) {
  const auto parameters = outbox_insert::parameters(event);
  attempt("write an event to the outbox", [&] {
    if (sqlite3_get_autocommit(connection) != 0)
      throw SqlError("no transaction is open; begin one, for the event and what it tells of");
    sqlite3_stmt* prepared = nullptr;
    require(connection, sqlite3_prepare_v2(connection, outbox_insert::sqlite, -1, &prepared, nullptr),
            SQLITE_OK);
    const std::unique_ptr<sqlite3_stmt, decltype(&sqlite3_finalize)> statement{prepared, sqlite3_finalize};
    int number = 0;
    for (const auto& text : parameters)  // which outlive the statement
      require(connection,
              sqlite3_bind_text(prepared, ++number, text.data(), static_cast<int>(text.size()), nullptr),
              SQLITE_OK);
    require(connection, sqlite3_step(prepared), SQLITE_DONE);
  });
}

void add_to_outbox(SQLite::Database& connection, const DomainEvent& event) {
  add_to_outbox(connection.getHandle(), event);
}

}  // namespace tidings
