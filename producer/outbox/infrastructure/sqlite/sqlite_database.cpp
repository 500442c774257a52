#include "infrastructure/sqlite/sqlite_database.hpp"

#include "database/lock_wait.hpp"
#include "database/statement_run.hpp"
#include "infrastructure/schema/schema.hpp"
#include "infrastructure/sqlite/sqlite_outbox_repository.hpp"
#include "infrastructure/sqlite/sqlite_outcome_store.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds busy_timeout{5000};

/// A path that cannot work gets a reason here, since SQLite knows one for all: "unable to open".
void check_file(const std::string& path, Database::Open mode) {
  const auto refuse = [&](const std::string& why) {
    throw DatabaseError("cannot open " + path + ": " + why);
  };
  // Other connections must find the same tables, so it cannot be one of SQLite's nameless databases.
  if (path.empty() || path == ":memory:") throw DatabaseError("cannot open '" + path + "': name a file");

  std::error_code error;
  const auto file = fs::status(path, error);
  const auto folder = fs::path(path).has_parent_path() ? fs::path(path).parent_path() : fs::path(".");
  const auto allowed = [](const fs::path& name, int access) {
    return ::faccessat(AT_FDCWD, name.c_str(), access, AT_EACCESS) == 0;
  };
  if (file.type() == fs::file_type::none) refuse(error.message() + "; let this user into its folder");
  if (fs::is_directory(file)) refuse("it is a folder; name a file in it");
  if (fs::exists(file) && !fs::is_regular_file(file)) refuse("it is no regular file; name another");
  if (!fs::exists(file) && mode == Database::Open::existing)
    refuse("there is no such file; make it with the service's migration, or correct DATABASE_URL");
  if (!fs::is_directory(folder, error)) refuse("there is no folder " + folder.string() + "; make it first");
  if (fs::exists(file) && !allowed(path, R_OK | W_OK))
    refuse("permission denied; let this user read and write it");
  // SQLite keeps the WAL beside the file.
  if (!allowed(folder, W_OK | X_OK))
    refuse("permission denied; let this user write in its folder " + folder.string());
}

/// SQLite would take `file:…` for a URI; what comes here is a path.
std::string as_path(const std::string& path) { return path.starts_with("file:") ? "./" + path : path; }

void configure(SQLite::Database& database) {
  if (sqlite3_db_readonly(database.getHandle(), "main") == 1)
    throw DatabaseError("cannot open " + database.getFilename() +
                        ": it can only be read; let this user write it");
  if (const auto mode = switch_to_wal(database, busy_timeout); mode != "wal")
    throw DatabaseError("cannot open " + database.getFilename() + ": journal_mode stays " + mode +
                        " where WAL is needed; move the file to a local file system");
  database.exec(
      "PRAGMA synchronous=FULL;"
      "PRAGMA foreign_keys=ON;"
      "PRAGMA temp_store=MEMORY;"
      // With 1.5 million users, registering took a quarter less kernel time than with the default of 2 MB:
      // the index on e-mail addresses is met at random.
      "PRAGMA cache_size=-16384;"
      // A single large transaction must not leave a large WAL for ever.
      "PRAGMA journal_size_limit=67108864");
}

SQLite::Database open_file(const std::string& path, Database::Open mode) {
  check_file(path, mode);
  const int flags = SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX |
                    (mode == Database::Open::create ? SQLite::OPEN_CREATE : 0);
  return attempt("open " + path, [&] {
    SQLite::Database database{as_path(path), flags};
    wait_for_locks(database.getHandle(), busy_timeout);
    configure(database);
    return database;
  });
}

std::string_view remedy(int code, std::string_view message) {
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return "; another connection holds the lock, try again";
    case SQLITE_FULL:
      return "; make room on its disk";
    case SQLITE_IOERR:
      return "; look after its disk";
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
      return "; let this user write the file and its folder";
    case SQLITE_CORRUPT:
      return "; restore it from a backup";
    case SQLITE_NOTADB:
      return "; name an SQLite file";
    default:
      break;
  }
  const bool lacking =
      message.starts_with("no such ") || message.find("has no column") != std::string_view::npos;
  return code == SQLITE_ERROR && lacking ? "; run the service's migration" : "";
}

bool may_pass(int code) {
  switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOMEM:
      return true;
    default:
      return false;
  }
}

}  // namespace

SqliteDatabase::SqliteDatabase(const std::string& path, Open open_mode)
    : path_(path), handle_(open_file(path, open_mode)) {
  if (open_mode != Open::processor) return;
  // Rows are read and written once, in order: a large cache would only fill.
  handle_.exec("PRAGMA cache_size=-4096");
  checkpointer_.emplace(handle_);
}

void SqliteDatabase::create_tables(const std::string& own_tables) {
  Transaction transaction{*this};
  handle_.exec(schema::sqlite + own_tables);
  transaction.commit();
}

void SqliteDatabase::add_notify_trigger() {
  throw SettingError("SQLite needs no trigger: the relay sees each commit in the file; for PostgreSQL only");
}

void SqliteDatabase::require_schema() {
  attempt("use the outbox in " + path_, [&] {
    // Names are not quoted: SQLite takes a quoted name that does not exist for a text.
    const SQLite::Statement outbox{
        handle_,
        R"sql(SELECT rowid, id, aggregateId, aggregateType, eventType, eventData, eventVersion, occurredAt,
                     processedAt, publishedAt, retryCount, lastError, status, createdAt, updatedAt
              FROM outbox_event)sql"};
    const SQLite::Statement lease{handle_, "SELECT name, holder, epoch, beat, expiresAt FROM outbox_lease"};
    const SQLite::Statement state{
        handle_, "SELECT name, phase, since, trouble, inFlight, writtenAt, published FROM outbox_state"};
  });
}

std::unique_ptr<OutboxRepository> SqliteDatabase::outbox() {
  return std::make_unique<SqliteOutboxRepository>(*this);
}

std::unique_ptr<OutcomeStore> SqliteDatabase::outcomes() {
  return std::make_unique<SqliteOutcomeStore>(*this);
}

void SqliteDatabase::maintain() {
  if (checkpointer_) attempt("move the WAL to " + path_, [&] { checkpointer_->run_if_due(); });
}

SqlRows SqliteDatabase::run(const std::string& text, const std::vector<SqlValue>& values) {
  try {
    auto known = statements_.find(text);
    if (known == statements_.end()) known = statements_.emplace(text, SQLite::Statement{handle_, text}).first;
    auto& statement = known->second;
    StatementRun run{statement};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto name = std::string{"$"}.append(std::to_string(i + 1));  // g++ 12 warns of "$" + at -O3
      std::visit([&](const auto& value) { statement.bind(name, value); }, values[i]);
    }
    SqlRows rows;
    rows.columns = static_cast<std::size_t>(statement.getColumnCount());
    while (run.next())
      for (int column = 0; column < statement.getColumnCount(); ++column)
        rows.cells.push_back(run.column(column).isNull() ? std::nullopt
                                                         : std::optional{run.column(column).getString()});
    if (rows.columns == 0) rows.affected = statement.getChanges();
    return rows;
  } catch (const SQLite::Exception& error) {
    throw sql_error(error);
  }
}

void SqliteDatabase::begin() { handle_.exec("BEGIN IMMEDIATE"); }

void SqliteDatabase::commit() { handle_.exec("COMMIT"); }

void SqliteDatabase::roll_back() noexcept {
  // After some errors (disk full, I/O) SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(handle_.getHandle()) == 0) handle_.tryExec("ROLLBACK");
}

SqlError sql_error(const SQLite::Exception& error) {
  const int code = error.getErrorCode() & 0xff;
  const std::string why = error.what();
  return SqlError(why + std::string(remedy(code, why)),
                  may_pass(code) ? Error::Retry::yes : Error::Retry::no);
}

}  // namespace tidings
