#pragma once

// Where the inboxes of a test are. Tests that include this run on both kinds: in files of SQLite's, and,
// built with TIDINGS_TEST_ON_POSTGRES, in a PostgreSQL of the test's own.

#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <cstdint>
#include <string>
#include <vector>

#ifdef TIDINGS_TEST_ON_POSTGRES

#include "inbox/postgres_inbox_tables.hpp"
#include "support/postgres_server.hpp"

#include <tidings/postgres_inbox.hpp>

namespace tidings::test {

using TestInbox = PostgresInbox;
using TestTables = PostgresInboxTables;  // the engine's side of it
using Tx = PostgresTransaction;

class InboxPlace {
 public:
  explicit InboxPlace(const TempDir&) {}

  /// What a TestInbox is made with. Inboxes with different names know nothing of each other.
  [[nodiscard]] std::string location(const std::string& name) const {
    look("CREATE SCHEMA IF NOT EXISTS " + name);
    return server_.url() + "?schema=" + name;
  }

  // Of the inbox that is called inbox.
  [[nodiscard]] std::vector<std::string> effects() const {
    return column("SELECT id FROM inbox.effect ORDER BY place");
  }
  [[nodiscard]] std::vector<std::string> rows() const {
    return column("SELECT convert_from(btrim(event_id, '\\x00'), 'UTF8') AS id FROM inbox.inbox ORDER BY id");
  }
  [[nodiscard]] std::int64_t count(const std::string& table, const std::string& inbox = "inbox") const {
    return look("SELECT count(*) FROM " + inbox + "." + table).integer(0, 0);
  }
  void let_all_be_handled_long_ago() const { look("UPDATE inbox.inbox SET handled_at = '2001-01-01'"); }

 private:
  PostgresRows look(const std::string& statement) const {
    PostgresConnection database{server_.url()};
    database.connect();
    return database.exec(statement);
  }
  [[nodiscard]] std::vector<std::string> column(const std::string& query) const {
    const auto rows = look(query);
    std::vector<std::string> values;
    for (int row = 0; row < rows.size(); ++row) values.emplace_back(rows.text(row, 0));
    return values;
  }

  PostgresServer server_;
};

inline void make_effects(TestInbox& inbox) {
  inbox.database().exec("CREATE TABLE IF NOT EXISTS effect(place serial, id text)");
}
inline void write_effect(Tx& tx, const std::string& id) {
  tx.queue("INSERT INTO effect(id) VALUES ($1)", id);
}

}  // namespace tidings::test

#else

#include "inbox/sqlite_inbox_tables.hpp"

#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

namespace tidings::test {

using TestInbox = SqliteInbox;
using TestTables = SqliteInboxTables;  // the engine's side of it
using Tx = SQLite::Database;

class InboxPlace {
 public:
  explicit InboxPlace(const TempDir& folder) : folder_(folder) {}

  /// What a TestInbox is made with. Inboxes with different names know nothing of each other.
  [[nodiscard]] std::string location(const std::string& name) const {
    return (folder_ / (name + ".db")).string();
  }

  // Of the inbox that is called inbox.
  [[nodiscard]] std::vector<std::string> effects() const {
    return sqlite::column(location("inbox"), "SELECT id FROM effect ORDER BY rowid");
  }
  [[nodiscard]] std::vector<std::string> rows() const {
    return sqlite::column(location("inbox"), "SELECT event_id FROM inbox ORDER BY event_id");
  }
  [[nodiscard]] std::int64_t count(const std::string& table, const std::string& inbox = "inbox") const {
    return sqlite::number(location(inbox), "SELECT count(*) FROM " + table);
  }
  void let_all_be_handled_long_ago() const {
    sqlite::execute(location("inbox"), "UPDATE inbox SET handled_at = 1000");
  }

 private:
  const TempDir& folder_;
};

inline void make_effects(TestInbox& inbox) {
  inbox.database().exec("CREATE TABLE IF NOT EXISTS effect(id TEXT)");
}
inline void write_effect(Tx& tx, const std::string& id) {
  SQLite::Statement insert{tx, "INSERT INTO effect VALUES (?)"};
  insert.bind(1, id);
  insert.exec();
}

}  // namespace tidings::test

#endif
