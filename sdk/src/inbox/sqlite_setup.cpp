#include "inbox/sqlite_setup.hpp"

#include "database/lock_wait.hpp"
#include "inbox/schema/schema.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <SQLiteCpp/Exception.h>

#include <chrono>

namespace tidings {
namespace {

constexpr std::chrono::milliseconds opening_timeout{5000};
// Later, a consumer that waits for a lock also looks whether it should stop.
constexpr std::chrono::milliseconds busy_timeout{1000};

/// Makes the tables that are missing, and adds what is missing in older ones.
void make_inbox_tables(SQLite::Database& database, TableNames& names) {
  database.exec("BEGIN IMMEDIATE");  // another process may be opening it, too
  database.exec(names.in(inbox_schema::sqlite));
  const auto has = [&](const std::string& table, const std::string& column) {
    return database
               .execAndGet("SELECT count(*) FROM pragma_table_info('" + names.in(table) +
                           "') WHERE name = '" + column + "'")
               .getInt() > 0;
  };
  if (!has("inbox_attempt", "state")) database.exec(names.in(inbox_schema::sqlite_second_version));
  if (!has("inbox_group", "seen_at")) database.exec(names.in(inbox_schema::sqlite_third_version));
  if (!has("inbox_attempt", "source")) database.exec(names.in(inbox_schema::sqlite_fourth_version));
  database.exec("COMMIT");
}

}  // namespace

SQLite::Database open_inbox(const std::string& url, TableNames& names) {
  const auto parsed = DatabaseUrl::parse(url, "the inbox");
  if (parsed.kind != DatabaseUrl::Kind::sqlite)
    throw SettingError("the inbox " + url.substr(0, url.find(':')) +
                       ":… is not a SQLite file: takes sqlite:PATH");
  try {
    SQLite::Database database{parsed.location, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE};
    wait_for_locks(database.getHandle(), opening_timeout);
    // FULL: an ack must not go out before its inbox row is on the disk.
    switch_to_wal(database, opening_timeout);
    database.exec(
        "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF; "
        "PRAGMA cache_size=-8000; PRAGMA temp_store=MEMORY;");
    make_inbox_tables(database, names);
    wait_for_locks(database.getHandle(), busy_timeout);
    return database;
  } catch (const SQLite::Exception& error) {
    throw DatabaseError("cannot open the inbox " + parsed.location + ": " + error.what() +
                        "; it must be a SQLite file (or none yet) in a folder that can be written");
  }
}

}  // namespace tidings
