#include "infrastructure/sqlite/sqlite_database.hpp"

#include "database/lock_wait.hpp"
#include "database/statement_run.hpp"
#include "infrastructure/schema/schema.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <utility>
#include <variant>

namespace tidings {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds busy_timeout{5000};
constexpr int large_wal = 1000;  // pages; SQLite's own limit

/// For a file that is missing. A second database, empty, is the last thing that is wanted.
std::string remedy(const fs::path& path) {
  const std::string make =
      ", or make the file with the service's migration or 'tidings outbox init --create' when there is none yet";
  if (path.is_absolute()) return "; correct DATABASE_URL" + make;
  std::error_code error;
  const auto here = " in " + fs::current_path(error).string() + ", where this program was started";
  const fs::path prisma{"prisma"};
  const auto beside_schema = prisma / path.lexically_normal();
  if (fs::exists(beside_schema, error))
    return here + ", but there is " + beside_schema.string() +
           ": Prisma's paths begin beside its schema; set DATABASE_URL=file:./" + beside_schema.string();
  return here + "; correct DATABASE_URL" +
         (fs::is_directory(prisma, error) ? " (Prisma's paths begin beside its schema)" : "") + make;
}

/// A path that cannot work gets a reason here, since SQLite has one for all: "unable to open".
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
  if (fs::exists(file) && !fs::is_regular_file(file)) refuse("it is not a regular file; name another");
  if (!fs::exists(file) && mode != Database::Open::create) refuse("there is no such file" + remedy(path));
  if (!fs::is_directory(folder, error)) refuse("there is no folder " + folder.string() + "; make it first");
  if (fs::exists(file) && !allowed(path, R_OK | W_OK))
    refuse("permission denied; let this user read and write it");
  // SQLite keeps the WAL beside the file.
  if (!allowed(folder, W_OK | X_OK))
    refuse("permission denied; let this user write in its folder " + folder.string());
}

/// Events tell of people: only this user may read them, unless somebody decides otherwise. What SQLite keeps
/// beside the file has the same rights.
void make_file(const std::string& path) {
  constexpr mode_t owner_only = 0600;
  const int file = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, owner_only);
  if (file >= 0) ::close(file);  // otherwise it is there, or SQLite says why not
}

/// SQLite would take `file:…` for a URI; what comes here is a path.
std::string as_path(const std::string& path) { return path.starts_with("file:") ? "./" + path : path; }

/// A service whose file it is may have chosen another journal mode than the relay needs.
void configure_to_read(SQLite::Database& database) {
  database.exec("PRAGMA temp_store=MEMORY; PRAGMA schema_version");  // reads the file: it may be no database
}

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
      // A single large transaction must not leave a large WAL behind.
      "PRAGMA journal_size_limit=67108864");
}

SQLite::Database open_file(const std::string& path, Database::Open mode) {
  check_file(path, mode);
  if (mode == Database::Open::create) make_file(path);
  const int flags = SQLite::OPEN_READWRITE | SQLite::OPEN_NOMUTEX |
                    (mode == Database::Open::create ? SQLite::OPEN_CREATE : 0);
  return attempt("open " + path, [&] {
    SQLite::Database database{as_path(path), flags};
    wait_for_locks(database.getHandle(), busy_timeout);
    mode == Database::Open::reading ? configure_to_read(database) : configure(database);
    return database;
  });
}

// `values` outlive the run of their statement: nothing is copied.
void bind(SQLite::Statement& statement, const std::string& name, std::monostate) { statement.bind(name); }
void bind(SQLite::Statement& statement, const std::string& name, std::int64_t value) {
  statement.bind(name, value);
}
void bind(SQLite::Statement& statement, const std::string& name, double value) {
  statement.bind(name, value);
}
void bind(SQLite::Statement& statement, const std::string& name, const std::string& value) {
  statement.bindNoCopy(name, value);
}
void bind(SQLite::Statement& statement, const std::string& name, const Bytes& value) {
  const void* const bytes =
      value.empty() ? "" : static_cast<const void*>(value.data());  // null would be NULL
  statement.bindNoCopy(name, bytes, static_cast<int>(value.size()));
}

/// With all its digits, where SQLite's own text has fifteen.
std::string real_text(double value) {
  std::array<char, 32> digits{};
  auto* const end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const std::string text{digits.data(), end};
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}

struct Advice {
  int code;
  Error::Retry retry;
  std::string_view remedy;
};

constexpr std::array known_errors{
    Advice{SQLITE_BUSY, Error::Retry::yes, "; another connection holds the lock, try again"},
    Advice{SQLITE_LOCKED, Error::Retry::yes, "; another connection holds the lock, try again"},
    Advice{SQLITE_PROTOCOL, Error::Retry::yes, ""},
    Advice{SQLITE_FULL, Error::Retry::yes, "; make room on its disk"},
    Advice{SQLITE_IOERR, Error::Retry::yes, "; check its disk"},
    Advice{SQLITE_CANTOPEN, Error::Retry::yes, "; let this user write the file and its folder"},
    Advice{SQLITE_READONLY, Error::Retry::yes, "; let this user write the file and its folder"},
    Advice{SQLITE_NOMEM, Error::Retry::yes, ""},
    Advice{SQLITE_CORRUPT, Error::Retry::no, "; restore it from a backup"},
    Advice{SQLITE_NOTADB, Error::Retry::no, "; name an SQLite file"},
};

}  // namespace

SqliteDatabase::SqliteDatabase(const std::string& path, Open open_mode)
    : path_(path), handle_(open_file(path, open_mode)), file_(handle_.getHandle(), path) {
  if (open_mode != Open::processor) return;
  // Rows are read and written once, in order: a large cache would only fill.
  handle_.exec("PRAGMA cache_size=-4096");
  // In place of SQLite's own checkpoints: it would do one within the commit that makes the WAL large, and the
  // commit's caller would wait. See maintain().
  sqlite3_wal_hook(handle_.getHandle(), note_wal_size, this);
}

int SqliteDatabase::note_wal_size(void* self, sqlite3*, const char*, int pages) {
  static_cast<SqliteDatabase*>(self)->wal_pages_ = pages;
  return SQLITE_OK;
}

void SqliteDatabase::create_tables(const std::string& own_tables) {
  transact([&](Transaction&) { handle_.exec(schema::sqlite + own_tables); });
}

void SqliteDatabase::add_notify_trigger() {
  throw SettingError("SQLite needs no trigger: the relay sees each commit in the file; for PostgreSQL only");
}

void SqliteDatabase::maintain() {
  if (wal_pages_ < large_wal) return;
  attempt("move the WAL to " + path_, [&] { exec("PRAGMA wal_checkpoint(PASSIVE)"); });
  wal_pages_ = 0;
}

SqlRows SqliteDatabase::run(const std::string& text, const std::vector<SqlValue>& values) {
  SqlRows rows;
  rows.affected = each_row(text, values, [&rows](SqlRows& row) {
    rows.columns = row.columns;
    std::move(row.cells.begin(), row.cells.end(), std::back_inserter(rows.cells));
  });
  return rows;
}

std::int64_t SqliteDatabase::each_row(const std::string& text, const std::vector<SqlValue>& values,
                                      const std::function<void(SqlRows& row)>& take) {
  try {
    auto known = statements_.find(text);
    if (known == statements_.end()) known = statements_.emplace(text, SQLite::Statement{handle_, text}).first;
    auto& statement = known->second;
    StatementRun run{statement};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto name = std::string{"$"}.append(std::to_string(i + 1));  // g++ 12 warns of "$" + at -O3
      std::visit([&](const auto& value) { bind(statement, name, value); }, values[i]);
    }
    SqlRows row{.cells = {}, .columns = static_cast<std::size_t>(statement.getColumnCount())};
    while (run.next()) {
      row.cells.clear();
      for (int column = 0; column < static_cast<int>(row.columns); ++column) {
        const auto cell = run.column(column);
        const int type = cell.getType();
        if (type == SQLite::Null)
          row.cells.emplace_back();
        else if (type == SQLite::INTEGER)  // takes a third of the time that SQLite needs to make a text of it
          row.cells.emplace_back(std::to_string(cell.getInt64()));
        else if (type == SQLite::FLOAT)
          row.cells.emplace_back(real_text(cell.getDouble()));
        else
          row.cells.emplace_back(cell.getString());
      }
      take(row);
    }
    return row.columns == 0 ? statement.getChanges() : 0;
  } catch (const SQLite::Exception& error) {
    throw sql_error(error);
  }
}

void SqliteDatabase::begin(Transaction::Access access) {
  if (const auto why = lost(); access == Transaction::Access::write && !why.empty())
    throw SqlError(why + "; start this program again", Error::Retry::no);
  handle_.exec(access == Transaction::Access::read ? "BEGIN" : "BEGIN IMMEDIATE");
}

void SqliteDatabase::commit() { handle_.exec("COMMIT"); }

void SqliteDatabase::roll_back() noexcept {
  // After some errors (disk full, I/O) SQLite has rolled back by itself.
  if (sqlite3_get_autocommit(handle_.getHandle()) == 0) handle_.tryExec("ROLLBACK");
}

SqlError sql_error(const SQLite::Exception& error) {
  const int code = error.getErrorCode() & 0xff;
  const std::string why = error.what();
  const auto* const known = std::find_if(known_errors.begin(), known_errors.end(),
                                         [code](const Advice& advice) { return advice.code == code; });
  if (known != known_errors.end()) return SqlError(why + std::string(known->remedy), known->retry);
  const bool lacks_schema =
      code == SQLITE_ERROR && (why.starts_with("no such ") || why.find("has no column") != std::string::npos);
  return SqlError(why + (lacks_schema ? "; run the service's migration, or 'tidings outbox init'" : ""),
                  Error::Retry::no);
}

}  // namespace tidings
