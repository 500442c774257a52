#include "database/sqlite_file.hpp"
#include "database/statement_run.hpp"
#include "inbox/attempt_columns.hpp"
#include "inbox/event_key.hpp"
#include "inbox/inbox.hpp"
#include "inbox/sqlite_setup.hpp"
#include "inbox/sqlite_statements.hpp"
#include "inbox/sqlite_tables.hpp"
#include "inbox/sqlite_tenure_store.hpp"
#include "inbox/sqlite_transaction_guard.hpp"

#include <tidings/error.hpp>
#include <tidings/sqlite_inbox.hpp>
#include <tidings/timestamp.hpp>

#include <SQLiteCpp/Exception.h>
#include <SQLiteCpp/Statement.h>
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

  bool is_strict() override { return statements_->fence.is_strict(); }
  void make_strict() override { statements_->fence.make_strict(); }
  std::unique_ptr<TenureStore> open_tenures(std::chrono::milliseconds patience) override {
    return open_sqlite_tenures(database.getFilename(), names, statements_->group_id, patience);
  }
  void fence(const std::string& tenure) override { statements_->fence.use(tenure); }

  void begin() override {
    require_file();
    run_own(statements_->begin);
    guard_.begun();
  }
  void commit() override {
    guard_.require_kept();
    guard_.reset_statements();
    statements_->fence.require_tenure();
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
  std::optional<SqliteStatements> statements_;
  TextOrBlob claimed_{};  // the last row's key
};

SqliteInbox::SqliteInbox(const std::string& url, const InboxOptions& options)
    : tables_(std::make_unique<Tables>(url, options)) {}

SqliteInbox::~SqliteInbox() = default;

SQLite::Database& SqliteInbox::database() noexcept { return tables_->database; }

Inbox& SqliteInbox::tables() noexcept { return *tables_; }

}  // namespace tidings
