#pragma once

// What an inbox in SQLite asks of its tables.

#include "database/statement_run.hpp"
#include "inbox/sqlite_fence.hpp"
#include "inbox/sqlite_pruner.hpp"
#include "inbox/sqlite_tables.hpp"

#include <cstdint>
#include <string>

namespace tidings {

/// The statements of one group.
struct SqliteStatements {
  using Statement = SqliteTables::Statement;

  SqliteStatements(const SqliteTables& its_database, const std::string& group)
      : database(its_database), group_id(join(its_database, group)) {}

  /// Writes only where the group is new: a handler of another instance may hold the lock for long.
  static std::int64_t join(const SqliteTables& database, const std::string& group) {
    Statement select{database, "SELECT id FROM inbox_group WHERE name = ?"};
    Statement insert{database, "INSERT INTO inbox_group(name) VALUES (?) ON CONFLICT DO NOTHING"};
    for (;;) {
      StatementRun run{select};
      if (run.bind(group).next()) return run.column(0).getInt64();
      StatementRun{insert}.bind(group).exec();
    }
  }

  const SqliteTables database;
  const std::int64_t group_id;
  Statement begin{database, "BEGIN IMMEDIATE"};
  Statement commit{database, "COMMIT"};
  Statement savepoint{database, "SAVEPOINT tidings_delivery"};
  Statement release{database, "RELEASE tidings_delivery"};
  Statement rollback_to{database, "ROLLBACK TO tidings_delivery"};
  Statement claim{database, R"sql(
      INSERT INTO inbox(group_id, event_id, source, handled_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING)sql"};
  Statement unclaim{database, "DELETE FROM inbox WHERE group_id = ? AND event_id = ?"};
  Statement handled{database, R"sql(
      SELECT 1 FROM inbox WHERE group_id = ? AND event_id IN (?, ?) AND (source IS NULL OR source = ?))sql"};
  // The newest: the row under the id may be an older binary's.
  Statement attempts{database, R"sql(
      SELECT starts, last_error, state, reason, next_attempt_at, message_stored_at FROM inbox_attempt
       WHERE group_id = ? AND event_id IN (?, ?) AND (source IS NULL OR source = ?)
       ORDER BY updated_at DESC, starts DESC LIMIT 1)sql"};
  Statement has_attempts{database, "SELECT 1 FROM inbox_attempt WHERE group_id = ? AND event_id = ?"};
  Statement record{database, R"sql(
      INSERT INTO inbox_attempt(group_id, event_id, source, starts, last_error, state, reason,
                                next_attempt_at, message_stored_at, updated_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET
          starts = excluded.starts, last_error = excluded.last_error, state = excluded.state,
          reason = excluded.reason, next_attempt_at = excluded.next_attempt_at,
          message_stored_at = excluded.message_stored_at, updated_at = excluded.updated_at
       WHERE source IS NULL OR source = excluded.source)sql"};
  Statement forget{database, R"sql(
      DELETE FROM inbox_attempt
       WHERE group_id = ? AND event_id IN (?, ?) AND (source IS NULL OR source = ?))sql"};
  Statement position{database, R"sql(
      SELECT stream_created, settled_to FROM inbox_position WHERE group_id = ? AND stream = ?)sql"};
  Statement keep_position{database, R"sql(
      INSERT INTO inbox_position(group_id, stream, stream_created, settled_to, updated_at) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET stream_created = excluded.stream_created, settled_to = excluded.settled_to,
                                updated_at = excluded.updated_at)sql"};
  Statement any_handled{database, "SELECT 1 FROM inbox WHERE group_id = ? LIMIT 1"};
  SqliteFence fence{database, group_id};
  SqlitePruner pruner{database, group_id};
};

}  // namespace tidings
