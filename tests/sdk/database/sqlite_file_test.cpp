#include "database/sqlite_file.hpp"

#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
namespace fs = std::filesystem;

namespace {

/// A database with some history, whose file is opened here and looked at as often as a test wants.
struct Opened {
  explicit Opened(const std::string& path) : database(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE) {
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS note(text)");
    file.emplace(database.getHandle(), path);
  }

  std::string lost() { return file->lost(time += SqliteFile::interval); }
  void write(const std::string& text) { database.exec("INSERT INTO note VALUES ('" + text + "')"); }

  SQLite::Database database;
  std::optional<SqliteFile> file;
  SqliteFile::Clock::time_point time{SqliteFile::Clock::now()};
};

void grow(const fs::path& file) {
  sqlite::execute(
      file,
      "PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS note(text); INSERT INTO note VALUES (zeroblob(20000))");
}

struct Change {
  const char* name;
  void (*make)(const fs::path& file);
};

const std::array losses{
    Change{"replaced",
           [](const fs::path& file) {
             sqlite::execute(file.string() + ".new", "CREATE TABLE other(id)");
             fs::rename(file.string() + ".new", file);
           }},
    Change{"deleted", [](const fs::path& file) { fs::remove(file); }},
    Change{"moved away", [](const fs::path& file) { fs::rename(file, file.string() + ".old"); }},
    Change{
        "in a folder that is renamed",
        [](const fs::path& file) { fs::rename(file.parent_path(), file.parent_path().string() + ".old"); }},
    Change{"without its WAL", [](const fs::path& file) { fs::remove(file.string() + "-wal"); }},
    Change{"without its WAL's index", [](const fs::path& file) { fs::remove(file.string() + "-shm"); }}};

const std::array overwritings{
    Change{"an older state of it",
           [](const fs::path& file) {
             fs::copy_file(file.string() + ".older", file, fs::copy_options::overwrite_existing);
           }},
    Change{"a letter", [](const fs::path& file) { std::ofstream{file} << std::string(4096, 'x'); }},
    Change{"nothing", [](const fs::path& file) { fs::resize_file(file, 0); }}};

template <std::size_t size>
const Change& any_of(const std::array<Change, size>& changes) {
  const auto& change = changes.at(static_cast<std::size_t>(GENERATE(range(0, static_cast<int>(size)))));
  UNSCOPED_INFO(change.name);
  return change;
}

}  // namespace

TEST_CASE("a database file that is not at its path any more is lost, and stays so") {
  const TempDir folder;
  const auto file = folder / "data/inbox.db";
  fs::create_directory(file.parent_path());
  const auto& change = any_of(losses);
  Opened opened{file.string()};
  opened.write("one");
  CHECK(opened.lost().empty());
  change.make(file);
  const auto why = opened.lost();
  CHECK_THAT(why, ContainsSubstring(file.string()));
  CHECK_THAT(why, ContainsSubstring("replaced, moved or deleted"));
  fs::create_directories(file.parent_path());
  std::ofstream{file};
  CHECK(opened.lost() == why);
}

TEST_CASE("a database file that others write over is lost, when that can be seen") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  grow(file);
  fs::copy_file(file, file.string() + ".older");
  for (int i = 0; i < 3; ++i) grow(file);
  const auto& change = any_of(overwritings);
  Opened opened{file.string()};
  CHECK(opened.lost().empty());
  change.make(file);
  CHECK_THAT(opened.lost(), ContainsSubstring(file.string() + " was overwritten"));
}

TEST_CASE("a database file that is replaced through a symbolic link is lost, also when the link is turned") {
  const TempDir folder;
  const auto link = folder / "inbox.db";
  grow(folder / "one.db");
  grow(folder / "two.db");
  fs::create_symlink("one.db", link);
  Opened opened{link.string()};
  CHECK(opened.lost().empty());
  if (GENERATE(true, false)) {
    fs::rename(folder / "two.db", folder / "one.db");
  } else {
    fs::remove(link);
    fs::create_symlink("two.db", link);
  }
  CHECK_FALSE(opened.lost().empty());
}

TEST_CASE("what databases go through by themselves is no loss") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  sqlite::execute(file, GENERATE("PRAGMA auto_vacuum = NONE", "PRAGMA auto_vacuum = FULL"));
  const bool by_another = GENERATE(true, false);
  Opened opened{file.string()};
  for (int i = 0; i < 3; ++i) grow(file);
  for (const char* statement :
       {"PRAGMA wal_checkpoint(TRUNCATE)", "DELETE FROM note", "PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM",
        "PRAGMA wal_checkpoint(TRUNCATE)", "DROP TABLE note; CREATE TABLE note(text)",
        "PRAGMA wal_checkpoint(TRUNCATE)"}) {
    INFO(statement);
    if (by_another)
      sqlite::execute(file, statement);
    else
      opened.database.exec(statement);
    opened.write("one");
    CHECK(opened.lost().empty());
  }
}

TEST_CASE("databases without a file are never lost") {
  for (const char* path : {":memory:", ""}) {
    Opened opened{path};
    opened.write("one");
    CHECK(opened.lost().empty());
  }
}

TEST_CASE("a relative path means the same file in another working folder") {
  const TempDir folder;
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  Opened opened{"inbox.db"};
  fs::current_path(before);
  CHECK(opened.lost().empty());
  fs::remove(folder / "inbox.db");
  CHECK_FALSE(opened.lost().empty());
}

TEST_CASE("the disk is looked at once in an interval") {
  const TempDir folder;
  Opened opened{(folder / "inbox.db").string()};
  CHECK(opened.lost().empty());
  fs::remove(folder / "inbox.db");
  CHECK(opened.file->lost(opened.time + SqliteFile::interval / 2).empty());
  CHECK_FALSE(opened.lost().empty());
}

TEST_CASE("the WAL of a file that was replaced is not taken for that of the new one") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Opened opened{file.string()};
  opened.write("old");
  fs::rename(file, folder / "old.db");
  sqlite::execute(folder / "new.db", "CREATE TABLE note(text); INSERT INTO note VALUES ('new')");
  fs::rename(folder / "new.db", file);
  CHECK_FALSE(opened.lost().empty());
  opened.file.reset();
  SQLite::Database{std::move(opened.database)};
  CHECK(sqlite::column(file, "SELECT text FROM note") == std::vector<std::string>{"new"});
  CHECK(sqlite::column(folder / "old.db", "SELECT text FROM note") == std::vector<std::string>{"old"});
}
