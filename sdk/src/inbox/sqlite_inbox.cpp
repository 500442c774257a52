#include "database/sqlite_file.hpp"
#include "database/statement_run.hpp"
#include "inbox/attempt_columns.hpp"
#include "inbox/event_key.hpp"
#include "inbox/inbox.hpp"
#include "inbox/sqlite_pruner.hpp"
#include "inbox/sqlite_setup.hpp"
#include "inbox/sqlite_tables.hpp"
#include "inbox/sqlite_tenure_store.hpp"
#include "inbox/sqlite_transaction_guard.hpp"

#include <tidings/error.hpp>
#include <tidings/sqlite_inbox.hpp>
#include <tidings/timestamp.hpp>

#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
#include <SQLiteCpp/Transaction.h>
#include <sqlite3.h>

#include <optional>
#include <utility>

namespace tidings {
namespace {

std::int64_t milliseconds(Timestamp time) { return time.time_since_epoch().count(); }

/// The values that an event's row may have; none of source and source_and_id for a UUID.
struct Key {
  explicit Key(const EventIdentity& event) : Key(EventKey{event}) {}
  explicit Key(EventKey&& key)
      : id{.bytes = std::move(key.id), .is_text = !key.is_uuid()}, source(std::move(key.source)) {
    if (key.source_and_id) source_and_id = {.bytes = *std::move(key.source_and_id), .is_text = false};
  }

  TextOrBlob id;
  std::optional<TextOrBlob> source_and_id;
  std::optional<std::string> source;
};

using Statement = SqliteTables::Statement;

/// The statements of one group.
struct Statements {
  Statements(const SqliteTables& its_database, const std::string& group)
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
  Statement is_strict{database,
                      "SELECT 1 FROM inbox_order JOIN inbox_beat USING (group_id) WHERE group_id = ?"};
  Statement fence{database, R"sql(
      UPDATE inbox_beat SET beat = beat + 1 WHERE group_id = ?
         AND EXISTS (SELECT 1 FROM inbox_order WHERE group_id = ? AND tenure = ?))sql"};
  Statement any_handled{database, "SELECT 1 FROM inbox WHERE group_id = ? LIMIT 1"};
  SqlitePruner pruner{database, group_id};
};

}  // namespace

class SqliteInbox::Tables final : public Inbox {
 public:
  Tables(const std::string& url, const InboxOptions& options)
      : names(options.table_prefix),
        database(open_inbox(url, names)),
        guard_(database.getHandle()),
        file_(database.getHandle(), database.getFilename()) {}

  void join(const std::string& group) override {
    if (statements_)
      throw Error("this inbox already serves a consumer: give each its own SqliteInbox object");
    try {
      guard_.prepare_own([&] { statements_.emplace(SqliteTables{database, names}, group); });
    } catch (const SQLite::Exception& error) {
      throw DatabaseError("cannot join the group " + group + " in the inbox " + database.getFilename() +
                          ": " + error.what());
    }
  }

  bool is_strict() override {
    return StatementRun{statements_->is_strict}.bind(statements_->group_id).next();
  }
  void make_strict() override {
    const auto id = std::to_string(statements_->group_id);
    SQLite::Transaction transaction{database, SQLite::TransactionBehavior::IMMEDIATE};
    database.exec(
        names.in("INSERT INTO inbox_order(group_id, tenure) VALUES (" + id + ", '') ON CONFLICT DO NOTHING"));
    database.exec(
        names.in("INSERT INTO inbox_beat(group_id, beat) VALUES (" + id + ", 0) ON CONFLICT DO NOTHING"));
    transaction.commit();
  }
  std::unique_ptr<TenureStore> open_tenures(std::chrono::milliseconds patience) override {
    return open_sqlite_tenures(database.getFilename(), names, statements_->group_id, patience);
  }
  void fence(const std::string& tenure) override { tenure_ = tenure; }

  void begin() override {
    require_file();
    run_own(statements_->begin);
    guard_.begun();
  }
  void commit() override {
    guard_.require_kept();
    guard_.reset_statements();
    require_tenure();
    run_own(statements_->commit);
    guard_.ended();
    require_file();
  }
  void rollback() noexcept override {
    guard_.reset_statements();
    // SQLite may have rolled back by itself (disk full): then there is nothing to do.
    const SqliteTransactionGuard::Own own{guard_};
    if (sqlite3_get_autocommit(database.getHandle()) == 0)
      sqlite3_exec(database.getHandle(), "ROLLBACK", nullptr, nullptr, nullptr);
    // A handler that has left it on would keep the inbox from ever writing again.
    sqlite3_exec(database.getHandle(), "PRAGMA query_only = OFF", nullptr, nullptr, nullptr);
    guard_.ended();
  }

  [[nodiscard]] std::string lost() override {
    const auto& why = file_.lost();
    if (why.empty()) return {};
    return "the inbox is lost: " + why +
           ". What was not acked goes back to the group. Start the consumer again, and stop it before its file "
           "is changed (and put no -wal and -shm of another file beside it)";
  }

  bool transaction_locks_all() const noexcept override { return true; }
  [[nodiscard]] bool in_transaction() const noexcept override { return guard_.kept(); }

  void savepoint() override { run_own(statements_->savepoint); }
  void release_savepoint() override {
    guard_.require_kept();
    guard_.reset_statements();
    run_own(statements_->release);
  }
  void rollback_to_savepoint() override {
    guard_.require_kept();
    guard_.reset_statements();
    run_own(statements_->rollback_to);
    guard_.forget_tries();  // ending the transaction was refused
  }

  void require_sound() const override { guard_.require_not_tried(); }
  [[nodiscard]] std::string remark_on_failure() const override { return guard_.complaint(); }

  bool claim(const EventIdentity& event) override {
    Key key{event};
    if (key.source_and_id && handled(key)) return false;
    if (insert(key.id, key.source)) {
      claimed_ = std::move(key.id);
      return true;
    }
    if (!key.source_and_id || !insert(*key.source_and_id, key.source)) return false;
    claimed_ = *std::move(key.source_and_id);
    return true;
  }

  void unclaim() override {
    auto& own = *statements_;
    StatementRun{own.unclaim}.bind(own.group_id, claimed_).exec();
  }

  bool handled(const EventIdentity& event) override { return handled(Key{event}); }

  std::optional<Attempts> attempts(const EventIdentity& event) override {
    const Key key{event};
    StatementRun run{statements_->attempts};
    if (!run.bind(statements_->group_id, key.id, key.source_and_id, key.source).next()) return std::nullopt;
    AttemptColumns row{.starts = run.column(0).getInt(),
                       .last_error = run.column(1).getString(),
                       .state = read_text(run.column(2)),
                       .reason = read_text(run.column(3))};
    if (const auto next = run.column(4); !next.isNull()) row.next_attempt = next.getInt64();
    if (const auto stored = run.column(5); !stored.isNull()) row.message_stored_at = stored.getInt64();
    return from_columns(row);
  }

  void record_attempts(const EventIdentity& event, const Attempts& attempts) override {
    const auto row = to_columns(attempts);
    const Key key{event};
    const auto write = [&](const TextOrBlob& place) {
      return StatementRun{statements_->record}
                 .bind(statements_->group_id, place, key.source, row.starts, row.last_error, row.state,
                       row.reason, row.next_attempt, row.message_stored_at, milliseconds(now()))
                 .exec() == 1;
    };
    const auto& other = key.source_and_id;
    const bool kept_there =
        other && StatementRun{statements_->has_attempts}.bind(statements_->group_id, *other).next();
    const bool written = !kept_there && write(key.id);
    if (!written && other) (void)write(*other);
  }

  void forget_attempts(const EventIdentity& event) override {
    const Key key{event};
    auto& own = *statements_;
    StatementRun{own.forget}.bind(own.group_id, key.id, key.source_and_id, key.source).exec();
  }

  std::optional<Position> position(const std::string& stream) override {
    StatementRun run{statements_->position};
    if (!run.bind(statements_->group_id, stream).next()) return std::nullopt;
    return Position{run.column(0).getString(), static_cast<std::uint64_t>(run.column(1).getInt64())};
  }

  void keep_position(const std::string& stream, const Position& position) override {
    StatementRun{statements_->keep_position}
        .bind(statements_->group_id, stream, position.stream_created,
              static_cast<std::int64_t>(position.settled_to), milliseconds(now()))
        .exec();
  }

  bool has_handled_events() override {
    return StatementRun{statements_->any_handled}.bind(statements_->group_id).next();
  }

  bool prune(std::chrono::hours age, int limit) override { return statements_->pruner.prune(age, limit); }

  bool is_transient(const std::exception& error) const noexcept override {
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

  TableNames names;
  SQLite::Database database;

 private:
  /// The same statement is a sign of life: nobody else could write one while the transaction was open.
  void require_tenure() {
    if (tenure_.empty()) return;
    const auto group = statements_->group_id;
    if (StatementRun{statements_->fence}.bind(group, group, tenure_).exec() != 1) throw TenureLost();
  }
  void require_file() {
    if (const auto& why = file_.lost(); !why.empty()) throw SQLite::Exception(why, SQLITE_IOERR);
  }

  void run_own(SQLite::Statement& statement) {
    const SqliteTransactionGuard::Own own{guard_};
    StatementRun{statement}.exec();
  }

  bool insert(const TextOrBlob& place, const std::optional<std::string>& source) {
    auto& own = *statements_;
    return StatementRun{own.claim}.bind(own.group_id, place, source, milliseconds(now())).exec() == 1;
  }
  bool handled(const Key& key) {
    auto& own = *statements_;
    return StatementRun{own.handled}.bind(own.group_id, key.id, key.source_and_id, key.source).next();
  }

  SqliteTransactionGuard guard_;
  SqliteFile file_;
  std::optional<Statements> statements_;
  std::string tenure_;    // that commits are checked against
  TextOrBlob claimed_{};  // the last row's key
};

SqliteInbox::SqliteInbox(const std::string& url, const InboxOptions& options)
    : tables_(std::make_unique<Tables>(url, options)) {}

SqliteInbox::~SqliteInbox() = default;

SQLite::Database& SqliteInbox::database() noexcept { return tables_->database; }

Inbox& SqliteInbox::tables() noexcept { return *tables_; }

}  // namespace tidings
