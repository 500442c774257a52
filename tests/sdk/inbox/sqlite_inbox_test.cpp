#include "inbox/inbox.hpp"
#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <fstream>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

const std::string uuid = "0190d5a2-7c3e-7b1f-8a6d-3f2e1d0c9b8a";

struct Joined {
  explicit Joined(const std::filesystem::path& file, const std::string& group = "mailer")
      : sqlite(file.string()) {
    inbox.join(group);
  }
  SqliteInbox sqlite;
  Inbox& inbox{sqlite.tables()};
};

bool claim(Inbox& inbox, const std::string& id) {
  inbox.begin();
  const bool first = inbox.claim({id});
  inbox.commit();
  return first;
}

/// Whether the error that `action` throws is taken for the database's.
template <class Action>
bool is_transient(const Inbox& inbox, Action&& action) {
  try {
    action();
  } catch (const std::exception& error) {
    INFO(error.what());
    return inbox.is_transient(error);
  }
  throw std::logic_error("an error was expected, and nothing was thrown");
}

}  // namespace

TEST_CASE("a group that is there is joined while another holds the lock, as behind a handler that hangs") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  const Joined first{file};
  SqliteInbox second{file.string()};
  SQLite::Database other{file.string(), SQLite::OPEN_READWRITE};
  other.exec("BEGIN IMMEDIATE");
  CHECK_NOTHROW(second.tables().join("mailer"));
}

TEST_CASE("a UUID is kept in its 16 bytes") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  claim(joined.inbox, uuid);
  CHECK(sqlite::text(folder / "inbox.db", "SELECT typeof(event_id) || length(event_id) FROM inbox") ==
        "blob16");
  CHECK(sqlite::text(folder / "inbox.db", "SELECT lower(hex(event_id)) FROM inbox") ==
        "0190d5a27c3e7b1f8a6d3f2e1d0c9b8a");
}

TEST_CASE("a path is taken with and without its scheme") {
  const TempDir folder;
  const auto path = (folder / "inbox.db").string();
  Joined{path};
  for (const char* scheme : {"sqlite:", "file:", "sqlite://"}) {
    INFO(scheme);
    SqliteInbox inbox{scheme + path};
    CHECK(inbox.database().getFilename() == path);
  }
}

TEST_CASE("what cannot be an inbox is an error with its path and what it must be") {
  const TempDir folder;
  std::ofstream{folder / "letter.txt"} << std::string(4096, 'x');
  const std::filesystem::path path = GENERATE(as<std::string>{}, "letter.txt", "missing/inbox.db", ".");
  INFO(path);
  const auto error = error_of<DatabaseError>([&] { SqliteInbox inbox{(folder / path).string()}; });
  CHECK_THAT(error, ContainsSubstring((folder / path).string()));
  CHECK_THAT(error, ContainsSubstring("must be a SQLite file"));
}

TEST_CASE("a server's URL is no inbox, and its password is not shown") {
  const auto error = error_of<SettingError>([] { SqliteInbox inbox{"postgresql://bob:hidden@db/app"}; });
  CHECK_THAT(error, ContainsSubstring("sqlite:PATH"));
  CHECK_THAT(error, !ContainsSubstring("hidden"));
}

TEST_CASE("a lock that another holds is a transient error and passes with it") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  joined.sqlite.database().setBusyTimeout(1);
  {
    SQLite::Database other{(folder / "inbox.db").string(), SQLite::OPEN_READWRITE};
    other.exec("BEGIN IMMEDIATE");
    CHECK(is_transient(joined.inbox, [&] { joined.inbox.begin(); }));
    CHECK(is_transient(joined.inbox, [&] { joined.inbox.begin(); }));
  }
  CHECK(claim(joined.inbox, uuid));
}

TEST_CASE("a full disk is a transient error and passes with it") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  auto& inbox = joined.inbox;
  const auto pages = joined.sqlite.database().execAndGet("PRAGMA page_count").getInt();
  joined.sqlite.database().exec("PRAGMA max_page_count = " + std::to_string(pages));
  inbox.begin();
  CHECK(is_transient(inbox, [&] {
    for (int i = 0; i < 1000; ++i) (void)inbox.claim({"event-with-a-long-enough-name-" + std::to_string(i)});
  }));
  inbox.rollback();
  joined.sqlite.database().exec("PRAGMA max_page_count = 1000000");
  CHECK(claim(inbox, uuid));
}

TEST_CASE("a database that cannot be written is a transient error") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  joined.sqlite.database().exec("PRAGMA query_only = ON");
  CHECK(is_transient(joined.inbox, [&] { joined.inbox.record_attempts({"x"}, {}); }));
}

TEST_CASE("a handler's own mistakes in SQL are not transient errors") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  auto& database = joined.sqlite.database();
  database.exec("CREATE TABLE effect(id TEXT PRIMARY KEY NOT NULL, size INTEGER CHECK (size > 0))");
  database.exec("INSERT INTO effect VALUES ('one', 1)");
  const char* const statement =
      GENERATE("INSERT INTO effect VALUES ('one', 1)", "INSERT INTO effect VALUES (NULL, 1)",
               "INSERT INTO effect VALUES ('two', 0)", "INSERT INTO missing VALUES (1)", "NOT SQL");
  INFO(statement);
  CHECK_FALSE(is_transient(joined.inbox, [&] { database.exec(statement); }));
}
