#pragma once

// What is SQLite's own in an outbox: its statements, their plans, its WAL.

#include "infrastructure/sqlite/sqlite_database.hpp"
#include "support/outbox_scene.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <chrono>
#include <string>
#include <vector>

namespace tidings::test {

struct SqliteScene : Scene {
  SqliteScene() : Scene(Engine::sqlite) {}

  SQLite::Database& handle() { return dynamic_cast<SqliteDatabase&>(outbox.database()).handle(); }

  /// False while a statement that was not reset holds a read transaction open.
  bool can_be_checkpointed() {
    outbox.execute("REPLACE INTO outbox_lease VALUES ('other', '', 0, 0, 0)");
    SqliteDatabase other{outbox.path()};
    other.handle().setBusyTimeout(1);
    return other.handle().execAndGet("PRAGMA wal_checkpoint(TRUNCATE)").getInt() == 0;
  }

  /// Those that were prepared until now, and stay so.
  std::vector<sqlite3_stmt*> statements() {
    std::vector<sqlite3_stmt*> all;
    auto* const connection = handle().getHandle();
    for (auto* statement = sqlite3_next_stmt(connection, nullptr); statement != nullptr;
         statement = sqlite3_next_stmt(connection, statement))
      all.push_back(statement);
    return all;
  }

  /// How SQLite goes about a statement.
  std::string plan(const std::string& sql) {
    std::string steps;
    SQLite::Statement explain{handle(), "EXPLAIN QUERY PLAN " + sql};
    while (explain.executeStep()) steps += explain.getColumn(3).getString() + "\n";
    return steps;
  }

  /// Runs every statement that there is, on the rows "300" to "389", which are PENDING, and some others.
  void use_all_statements() {
    REQUIRE(pending(10).size() == 10);
    (void)repository.read_aggregate({.aggregate_id = "300", .aggregate_type = "User", .after = {}}, 10);
    (void)repository.read_retries({}, 10);
    (void)repository.count_pending();
    (void)repository.list({}, 1);
    (void)repository.list(RowStatus::failed, 1);
    (void)repository.list_unknown_status(1);
    for (const bool deleting : {false, true}) {
      std::vector<Outcome> outcomes;
      for (int i = 0; i < 10; ++i)
        outcomes.push_back(outcome(std::to_string((deleting ? 310 : 300) + i), RowStatus::published));
      write(outcomes, deleting);
    }
    for (const auto status : {RowStatus::processing, RowStatus::failed, RowStatus::dead_letter})
      write({outcome("320", status)});
    CHECK(clean_up(now() + std::chrono::hours{1}, 1).deleted == 1);
    (void)repository.stats();
  }
};

}  // namespace tidings::test
