#include "infrastructure/outbox_columns.hpp"
#include "infrastructure/sqlite/sqlite_database.hpp"
#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <fstream>
#include <vector>

using namespace tidings;
using namespace tidings::test;
namespace fs = std::filesystem;

namespace {

/// What opening says; fails when it opens, or when the error would be tried again.
std::string refusal(const std::string& path, Database::Open mode = Database::Open::existing) {
  try {
    const SqliteDatabase database{path, mode};
  } catch (const DatabaseError& error) {
    CHECK_FALSE(error.retryable());
    return error.what();
  }
  FAIL("it was opened");
  return {};
}

std::string pragma(SqliteDatabase& database, const std::string& name) {
  return database.handle().execAndGet("PRAGMA " + name).getString();
}

DatabaseError described(int code) {
  try {
    attempt("do it", [code] { throw SQLite::Exception("reason", code); });
  } catch (const DatabaseError& error) {
    return error;
  }
  return DatabaseError("no error");
}

/// What read_time makes of an SQL value.
std::optional<Timestamp> read(const std::string& value) {
  SQLite::Database memory{":memory:"};
  SQLite::Statement statement{memory, "SELECT " + value};
  statement.executeStep();
  return outbox_columns::read_time(statement.getColumn(0).getString());
}

}  // namespace

TEST_CASE("a database is opened for commits that survive a power cut") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  CHECK(pragma(database, "journal_mode") == "wal");
  CHECK(pragma(database, "synchronous") == "2");
  CHECK(pragma(database, "foreign_keys") == "1");
  CHECK(database.name() == (folder / "a.db").string());
}

TEST_CASE("a database that cannot be opened is an error that names it and says what to do") {
  const TempDir folder;
  SECTION("no file") {
    const auto file = (folder / "missing.db").string();
    const auto error = refusal(file);
    CHECK_THAT(error, ContainsSubstring(file));
    CHECK_THAT(error, ContainsSubstring("service's migration"));
    CHECK_FALSE(fs::exists(file));
  }
  SECTION("no folder") {
    const auto error = refusal(folder / "none" / "a.db", Database::Open::create);
    CHECK_THAT(error, ContainsSubstring((folder / "none" / "a.db").string()));
    CHECK_THAT(error, ContainsSubstring("no folder"));
  }
  SECTION("a folder") {
    const auto error = refusal(folder.path(), Database::Open::create);
    CHECK_THAT(error, ContainsSubstring(folder.path().string() + ": it is a folder"));
  }
  SECTION("another kind of file") {
    std::ofstream{folder / "letter.txt"} << std::string(5000, 'x');
    const auto error = refusal(folder / "letter.txt");
    CHECK_THAT(error, ContainsSubstring((folder / "letter.txt").string()));
    CHECK_THAT(error, ContainsSubstring("name an SQLite file"));
    CHECK(fs::file_size(folder / "letter.txt") == 5000);
  }
  SECTION("a pipe") {
    REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    CHECK_THAT(refusal(folder / "pipe"), ContainsSubstring("not a regular file"));
  }
  SECTION("no name") {
    CHECK_THAT(refusal("", Database::Open::create), ContainsSubstring("name a file"));
    CHECK_THAT(refusal(":memory:", Database::Open::create), ContainsSubstring("name a file"));
  }
}

TEST_CASE("a database that its user may not write is an error that says so") {
  if (::geteuid() != 0) return;  // only root can become another user
  const TempDir folder;
  sqlite::execute(folder / "a.db", "PRAGMA journal_mode=WAL; CREATE TABLE t(a)");
  const auto refused_to_others = [&](const std::string& advice) {
    Child child{[&] {
      if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 2;
      try {
        const SqliteDatabase database{folder / "a.db"};
      } catch (const DatabaseError& error) {
        const std::string text = error.what();
        const bool says = text.find((folder / "a.db").string()) != std::string::npos &&
                          text.find(advice) != std::string::npos && !error.retryable();
        return says ? 0 : 3;
      }
      return 4;
    }};
    return child.wait() == exited(0);
  };
  REQUIRE(::chmod(folder.path().c_str(), 0700) == 0);
  CHECK(refused_to_others("let this user into its folder"));
  REQUIRE(::chmod(folder.path().c_str(), 0777) == 0);
  REQUIRE(::chmod((folder / "a.db").c_str(), 0644) == 0);
  CHECK(refused_to_others("let this user read and write it"));
  REQUIRE(::chmod((folder / "a.db").c_str(), 0666) == 0);
  REQUIRE(::chmod(folder.path().c_str(), 0755) == 0);
  CHECK(refused_to_others("write in its folder"));
}

TEST_CASE("a path that looks like an SQLite URI is a path") {
  const TempDir folder;
  Child child{[&] {
    if (::chdir(folder.path().c_str()) != 0) return 2;
    const SqliteDatabase database{"file:a.db", Database::Open::create};
    return 0;
  }};
  CHECK(child.wait() == exited(0));
  CHECK(fs::exists(folder / "file:a.db"));
}

TEST_CASE("migrating again keeps what is there") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  database.migrate();
  database.require_schema();
  database.handle().exec("INSERT INTO outbox_lease VALUES ('a', 'b', 1, 2, 3)");
  database.migrate();
  CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM outbox_lease") == 1);
}

TEST_CASE("a migration that fails makes nothing") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  database.handle().exec(
      "CREATE TABLE \"outbox_event_status_createdAt_idx\"(a)");  // where an index should be
  CHECK_THAT(error_of<DatabaseError>([&] { database.migrate(); }),
             ContainsSubstring((folder / "a.db").string()));
  CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM sqlite_master WHERE name = 'outbox_event'") ==
        0);
}

TEST_CASE("processes that make the same database at once all succeed") {
  for (int round = 0; round < 15; ++round) {
    const TempDir folder;
    std::vector<Child> children;
    for (int i = 0; i < 8; ++i)
      children.emplace_back([&] {
        while (!fs::exists(folder / "go")) {
        }
        SqliteDatabase database{folder / "a.db", Database::Open::create};
        database.migrate();
        database.require_schema();
        return 0;
      });
    std::ofstream{folder / "go"};
    for (auto& child : children) REQUIRE(child.wait() == exited(0));
  }
}

TEST_CASE("a database without the outbox is refused with the command that makes it") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  const auto complaint = [&] { return error_of<DatabaseError>([&] { database.require_schema(); }); };
  CHECK_THAT(complaint(), ContainsSubstring((folder / "a.db").string()));
  CHECK_THAT(complaint(), ContainsSubstring("run the service's migration"));
  database.migrate();
  database.handle().exec("ALTER TABLE outbox_event DROP COLUMN \"publishedAt\"");
  CHECK_THAT(complaint(), ContainsSubstring("publishedAt"));
}

TEST_CASE("a transaction that is not committed leaves nothing") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  database.handle().exec("CREATE TABLE t(a)");
  const auto rows = [&] { return sqlite::number(folder / "a.db", "SELECT count(*) FROM t"); };
  int committed = 0;

  CHECK_THROWS_AS(database.transact([&](Transaction& transaction) {
    transaction.on_commit([&] { ++committed; });
    database.handle().exec("INSERT INTO t VALUES (1)");
    throw std::runtime_error("changed my mind");
  }),
                  std::runtime_error);
  CHECK(rows() == 0);
  CHECK(committed == 0);

  database.transact([&](Transaction& transaction) {
    transaction.on_commit([&] { committed += static_cast<int>(rows()); });
    database.handle().exec("INSERT INTO t VALUES (1)");
    CHECK(rows() == 0);
  });
  CHECK(rows() == 1);
  CHECK(committed == 1);
}

TEST_CASE("a commit that fails leaves its transaction rolled back and the connection usable") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  database.handle().exec(
      "CREATE TABLE parent(id PRIMARY KEY); CREATE TABLE child(id REFERENCES parent DEFERRABLE INITIALLY "
      "DEFERRED)");
  bool committed = false;
  Transaction transaction{database};
  transaction.on_commit([&] { committed = true; });
  database.handle().exec("INSERT INTO child VALUES (1)");
  CHECK_THAT(error_of<DatabaseError>([&] { transaction.commit(); }), ContainsSubstring("cannot commit"));
  CHECK_FALSE(committed);
  // Not when the object goes, but now: the caller may be about to try again.
  database.transact([&](Transaction&) { database.handle().exec("INSERT INTO parent VALUES (1)"); });
  CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM child") == 0);
  CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM parent") == 1);
}

TEST_CASE(
    "a transaction takes the write lock at its start, and a lock that stays taken is worth another try") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  SqliteDatabase other{folder / "a.db"};
  other.handle().setBusyTimeout(1);
  const Transaction transaction{database};
  try {
    other.transact([](Transaction&) { FAIL("two hold the write lock"); });
    FAIL("no error");
  } catch (const DatabaseError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring((folder / "a.db").string()));
  }
}

TEST_CASE("a full disk in the middle of a transaction undoes all of it, and is worth another try") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  database.handle().exec("CREATE TABLE t(a)");
  const auto pages = database.handle().execAndGet("PRAGMA page_count").getInt();
  database.handle().exec("PRAGMA max_page_count=" + std::to_string(pages + 10));
  try {
    database.transact([&](Transaction&) {
      database.handle().exec("INSERT INTO t VALUES (1)");
      attempt("write", [&] { database.handle().exec("INSERT INTO t VALUES (zeroblob(1000000))"); });
    });
    FAIL("no error");
  } catch (const DatabaseError& error) {
    CHECK(error.retryable());
  }
  CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM t") == 0);
  database.transact([&](Transaction&) { database.handle().exec("INSERT INTO t VALUES (2)"); });
  CHECK(sqlite::number(folder / "a.db", "SELECT count(*) FROM t") == 1);
}

TEST_CASE("a database error says what was tried and whether trying again may help") {
  for (const int code :
       {SQLITE_BUSY, SQLITE_BUSY_SNAPSHOT, SQLITE_LOCKED, SQLITE_FULL, SQLITE_IOERR, SQLITE_IOERR_FSYNC,
        SQLITE_CANTOPEN, SQLITE_READONLY, SQLITE_NOMEM, SQLITE_PROTOCOL}) {
    INFO(code);
    CHECK(described(code).retryable());
  }
  for (const int code : {SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_CONSTRAINT, SQLITE_ERROR, SQLITE_MISUSE, -1}) {
    INFO(code);
    CHECK_FALSE(described(code).retryable());
  }
  CHECK_THAT(described(SQLITE_FULL).what(), ContainsSubstring("cannot do it: reason; make room on its disk"));
}

TEST_CASE("a time is read in every form in which it is stored") {
  const auto time = *parse_timestamp("2026-01-31T08:15:30.123Z");
  CHECK(read("'2026-01-31T08:15:30.123Z'") == time);
  CHECK(read("'2026-01-31T09:15:30.123+01:00'") == time);
  CHECK(read("1769847330123") == time);
  CHECK(read("1769847330123.0") == time);
  CHECK(read("'2026-01-31 08:15:30.123 +00:00'") == time);
  CHECK(read("'2026-01-31 09:15:30.123 +01:00'") == time);
  CHECK(read("'2026-01-31 09:15:30.123+01'") == time);
  CHECK(read("x'323032362d30312d33312030383a31353a33302e313233'") == time);
  CHECK(read("1769847330") == std::chrono::floor<std::chrono::seconds>(time));
  CHECK(read("1769847330.123") == time);
  CHECK(read("'2026-01-31 08:15:30'") == std::chrono::floor<std::chrono::seconds>(time));
}

TEST_CASE("what cannot be read as a time is none, and neither is what reads as the time 0") {
  for (const auto* value :
       {"NULL", "''", "'soon'", "'yesterday'", "x'00ff'", "9223372036854775807", "-9223372036854775807",
        "'9223372036854775807'", "9e300", "'2026-02-30T00:00:00Z'", "0", "1", "2460000.5",
        "'1970-01-01T00:00:00.000Z'", "'1970-01-01 00:00:00'", "'-infinity'"}) {
    INFO(value);
    CHECK_FALSE(read(value));
  }
}
