#include "inbox/sqlite_inbox_tables.hpp"

#include "database/lock_wait.hpp"
#include "database/statement_run.hpp"
#include "inbox/attempt_columns.hpp"
#include "inbox/event_key.hpp"
#include "inbox/sqlite_schema.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>
#include <tidings/timestamp.hpp>

#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <sqlite3.h>

#include <optional>
#include <utility>

namespace tidings {
namespace {

constexpr std::chrono::milliseconds opening_timeout{5000};
// Later, whoever waits for a lock also looks whether it should stop.
constexpr std::chrono::milliseconds busy_timeout{1000};

void bind_key(SQLite::Statement& statement, int index, const std::string& id) {
  if (const auto bytes = uuid_bytes(id)) {
    statement.bind(index, bytes->data(), static_cast<int>(bytes->size()));
  } else {
    statement.bind(index, id);
  }
}

std::unique_ptr<SQLite::Database> open(const std::string& path) {
  try {
    auto database = std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    wait_for_locks(database->getHandle(), opening_timeout);
    // FULL: an ack must not go out before its inbox row is on the disk.
    switch_to_wal(*database, opening_timeout);
    database->exec(
        "PRAGMA synchronous=FULL; PRAGMA secure_delete=OFF; "
        "PRAGMA cache_size=-8000; PRAGMA temp_store=MEMORY;");
    make_inbox_tables(*database);
    wait_for_locks(database->getHandle(), busy_timeout);
    return database;
  } catch (const SQLite::Exception& error) {
    throw DatabaseError("cannot open the inbox " + path + ": " + error.what() +
                        "; it must be a SQLite file (or none yet) in a folder that can be written");
  }
}

}  // namespace

struct SqliteInboxTables::Statements {
  explicit Statements(SQLite::Database& database, const std::string& group)
      : group_id(join(database, group)),
        begin(database, "BEGIN IMMEDIATE"),
        commit(database, "COMMIT"),
        savepoint(database, "SAVEPOINT delivery"),
        release(database, "RELEASE delivery"),
        rollback_to(database, "ROLLBACK TO delivery"),
        claim(database, R"sql(
            INSERT INTO inbox(group_id, event_id, handled_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING)sql"),
        handled(database, "SELECT 1 FROM inbox WHERE group_id = ? AND event_id = ?"),
        attempts(database, R"sql(
            SELECT starts, last_error, state, reason, next_attempt_at
              FROM inbox_attempt WHERE group_id = ? AND event_id = ?)sql"),
        record(database, R"sql(
            INSERT INTO inbox_attempt(group_id, event_id, starts, last_error, state, reason, next_attempt_at,
                                      updated_at)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT DO UPDATE SET
                starts = excluded.starts, last_error = excluded.last_error, state = excluded.state,
                reason = excluded.reason, next_attempt_at = excluded.next_attempt_at,
                updated_at = excluded.updated_at)sql"),
        forget(database, "DELETE FROM inbox_attempt WHERE group_id = ? AND event_id = ?"),
        prune_attempts(database, "DELETE FROM inbox_attempt WHERE group_id = ? AND updated_at < ?"),
        prune_end(database, R"sql(
            SELECT event_id FROM inbox WHERE group_id = ? AND event_id > ?
             ORDER BY event_id LIMIT 1 OFFSET ?)sql"),
        prune_range(database, R"sql(
            DELETE FROM inbox
             WHERE group_id = ? AND event_id > ? AND event_id <= ? AND handled_at < ?)sql"),
        prune_rest(database, "DELETE FROM inbox WHERE group_id = ? AND event_id > ? AND handled_at < ?") {}

  static std::int64_t join(SQLite::Database& database, const std::string& group) {
    SQLite::Statement insert{database, "INSERT INTO inbox_group(name) VALUES (?) ON CONFLICT DO NOTHING"};
    insert.bind(1, group);
    insert.exec();
    SQLite::Statement select{database, "SELECT id FROM inbox_group WHERE name = ?"};
    select.bind(1, group);
    select.executeStep();
    return select.getColumn(0).getInt64();
  }

  SQLite::Statement& on(SQLite::Statement& statement, const std::string& event_id) const {
    statement.tryReset();  // reset() would throw what the last run has thrown already
    statement.bind(1, group_id);
    bind_key(statement, 2, event_id);
    return statement;
  }

  static int run(SQLite::Statement& statement) { return StatementRun{statement}.exec(); }

  std::int64_t group_id;
  SQLite::Statement begin, commit, savepoint, release, rollback_to;
  SQLite::Statement claim, handled, attempts, record, forget, prune_attempts, prune_end, prune_range,
      prune_rest;
  TextOrBlob prune_position;  // the key that the last prune ended at
};

SqliteInboxTables::SqliteInboxTables(const std::string& url) {
  const auto parsed = DatabaseUrl::parse(url, "the inbox");
  if (parsed.kind != DatabaseUrl::Kind::sqlite)
    throw SettingError("the inbox " + url.substr(0, url.find(':')) +
                       ":… is no SQLite file: takes sqlite:PATH");
  database_ = open(parsed.location);
}

SqliteInboxTables::~SqliteInboxTables() = default;

SQLite::Database& SqliteInboxTables::database() noexcept { return *database_; }

void SqliteInboxTables::join(const std::string& group) {
  if (statements_) throw Error("this inbox already serves a consumer: give each its own SqliteInbox object");
  try {
    statements_ = std::make_unique<Statements>(*database_, group);
  } catch (const SQLite::Exception& error) {
    throw DatabaseError("cannot join the group " + group + " in the inbox " + database_->getFilename() +
                        ": " + error.what());
  }
}

void SqliteInboxTables::begin() { Statements::run(statements_->begin); }

void SqliteInboxTables::commit() { Statements::run(statements_->commit); }

void SqliteInboxTables::rollback() noexcept {
  // SQLite may have rolled back by itself (disk full): then there is nothing to do.
  if (sqlite3_get_autocommit(database_->getHandle()) == 0)
    sqlite3_exec(database_->getHandle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

void SqliteInboxTables::savepoint() { Statements::run(statements_->savepoint); }

void SqliteInboxTables::release_savepoint() { Statements::run(statements_->release); }

void SqliteInboxTables::rollback_to_savepoint() { Statements::run(statements_->rollback_to); }

bool SqliteInboxTables::claim(const std::string& event_id) {
  auto& statement = statements_->on(statements_->claim, event_id);
  statement.bind(3, static_cast<std::int64_t>(now().time_since_epoch().count()));
  return Statements::run(statement) == 1;
}

bool SqliteInboxTables::handled(const std::string& event_id) {
  return StatementRun{statements_->on(statements_->handled, event_id)}.next();
}

std::optional<Inbox::Attempts> SqliteInboxTables::attempts(const std::string& event_id) {
  auto& statement = statements_->on(statements_->attempts, event_id);
  std::optional<Attempts> attempts;
  if (statement.executeStep()) {
    AttemptColumns row{.starts = statement.getColumn(0).getInt(),
                       .last_error = statement.getColumn(1).getString()};
    if (const auto state = statement.getColumn(2); !state.isNull()) row.state = state.getString();
    row.reason = statement.getColumn(3).getString();
    if (const auto next = statement.getColumn(4); !next.isNull()) row.next_attempt = next.getInt64();
    attempts = from_columns(row);
  }
  statement.reset();
  return attempts;
}

void SqliteInboxTables::record_attempts(const std::string& event_id, const Attempts& attempts) {
  const auto row = to_columns(attempts);
  auto& statement = statements_->on(statements_->record, event_id);
  statement.bind(3, row.starts);
  statement.bind(4, row.last_error);
  statement.bind(5, *row.state);
  statement.bind(6, row.reason);
  if (row.next_attempt)
    statement.bind(7, *row.next_attempt);
  else
    statement.bind(7);
  statement.bind(8, static_cast<std::int64_t>(now().time_since_epoch().count()));
  Statements::run(statement);
}

void SqliteInboxTables::forget_attempts(const std::string& event_id) {
  Statements::run(statements_->on(statements_->forget, event_id));
}

bool SqliteInboxTables::prune(std::chrono::hours age, int limit) {
  auto& own = *statements_;
  const auto before = static_cast<std::int64_t>((now() - age).time_since_epoch().count());
  std::optional<TextOrBlob> end;
  if (StatementRun run{own.prune_end}; run.bind(own.group_id, own.prune_position, limit - 1).next()) {
    const auto key = run.column(0);
    end = {.bytes = {static_cast<const char*>(key.getBlob()), static_cast<std::size_t>(key.getBytes())},
           .is_text = key.isText()};
  }
  if (end) {
    StatementRun{own.prune_range}.bind(own.group_id, own.prune_position, *end, before).exec();
    own.prune_position = *std::move(end);
    return false;
  }
  StatementRun{own.prune_rest}.bind(own.group_id, own.prune_position, before).exec();
  own.prune_position = {};
  StatementRun{own.prune_attempts}.bind(own.group_id, before).exec();
  return true;
}

bool SqliteInboxTables::is_transient(const std::exception& error) const noexcept {
  const auto* own = dynamic_cast<const SQLite::Exception*>(&error);
  if (own == nullptr) return false;
  switch (own->getErrorCode() & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
      return true;
    default:
      return false;
  }
}

}  // namespace tidings
