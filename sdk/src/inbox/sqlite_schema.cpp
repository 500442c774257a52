#include "inbox/sqlite_schema.hpp"

#include <SQLiteCpp/Database.h>

namespace tidings {
namespace {

// The tables' first version; what later ones add is added to it.
constexpr const char* first_version = R"sql(
CREATE TABLE IF NOT EXISTS inbox_group (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
-- A row for each event whose effects are committed. UUIDs are stored as their 16 bytes.
CREATE TABLE IF NOT EXISTS inbox (
    group_id INTEGER NOT NULL,
    event_id NOT NULL,
    handled_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, event_id)
) WITHOUT ROWID;
-- Events that were started and did not succeed yet.
CREATE TABLE IF NOT EXISTS inbox_attempt (
    group_id INTEGER NOT NULL,
    event_id NOT NULL,
    starts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, event_id)
) WITHOUT ROWID;
-- One row. PRAGMA user_version is of the file, which handlers' tables share.
CREATE TABLE IF NOT EXISTS inbox_schema (
    version INTEGER NOT NULL
);
)sql";

// Older binaries go on working beside it: they leave the columns NULL.
constexpr const char* second_version = R"sql(
ALTER TABLE inbox_attempt ADD COLUMN state TEXT;
ALTER TABLE inbox_attempt ADD COLUMN reason TEXT;
ALTER TABLE inbox_attempt ADD COLUMN next_attempt_at INTEGER;
DELETE FROM inbox_schema;
INSERT INTO inbox_schema(version) VALUES (2);
)sql";

}  // namespace

void make_inbox_tables(SQLite::Database& database) {
  database.exec("BEGIN IMMEDIATE");  // another process may be opening it, too
  database.exec(first_version);
  const auto columns =
      database.execAndGet("SELECT count(*) FROM pragma_table_info('inbox_attempt') WHERE name = 'state'");
  if (columns.getInt() == 0) database.exec(second_version);
  database.exec("COMMIT");
}

}  // namespace tidings
