#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <barrier>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;

namespace {

const std::string uuid = "0190d5a2-7c3e-7b1f-8a6d-3f2e1d0c9b8a";

struct Joined {
  explicit Joined(const std::filesystem::path& file, const std::string& group = "mailer")
      : inbox(file.string()) {
    inbox.join(group);
  }
  SqliteInbox inbox;
};

bool claim(SqliteInbox& inbox, const std::string& id) {
  inbox.begin();
  const bool first = inbox.claim(id);
  inbox.commit();
  return first;
}

void record(SqliteInbox& inbox, const std::string& id, const Inbox::Attempts& attempts) {
  inbox.begin();
  inbox.record_attempts(id, attempts);
  inbox.commit();
}

bool prune(SqliteInbox& inbox, hours age, int limit) {
  inbox.begin();
  const bool round_done = inbox.prune(age, limit);
  inbox.commit();
  return round_done;
}

/// Whether the error that `action` throws is taken for the database's.
template <class Action>
bool is_trouble(const SqliteInbox& inbox, Action&& action) {
  try {
    action();
  } catch (const std::exception& error) {
    INFO(error.what());
    return inbox.is_trouble(error);
  }
  throw std::logic_error("an error was expected, and nothing was thrown");
}

void let_handled_long_ago(const std::filesystem::path& file, const std::string& where) {
  sqlite::execute(file, "UPDATE inbox SET handled_at = 1000 WHERE " + where);
}

}  // namespace

TEST_CASE("an event is claimed once, also after the file is opened again") {
  const TempDir folder;
  const std::string id =
      GENERATE(as<std::string>{}, uuid, "cl9ebqhxk00003b600tymydho", "ü/'; DROP TABLE inbox");
  {
    Joined first{folder / "inbox.db"};
    CHECK_FALSE(first.inbox.handled(id));
    CHECK(claim(first.inbox, id));
    CHECK_FALSE(claim(first.inbox, id));
    CHECK(first.inbox.handled(id));
  }
  Joined again{folder / "inbox.db"};
  CHECK(again.inbox.handled(id));
  CHECK_FALSE(claim(again.inbox, id));
}

TEST_CASE("a second claim in the same transaction is refused too") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  joined.inbox.begin();
  CHECK(joined.inbox.claim(uuid));
  CHECK_FALSE(joined.inbox.claim(uuid));
  joined.inbox.commit();
}

TEST_CASE("two instances that share the file claim an event once between them") {
  const TempDir folder;
  Joined one{folder / "inbox.db"}, other{folder / "inbox.db"};
  CHECK(claim(one.inbox, uuid));
  CHECK_FALSE(claim(other.inbox, uuid));
  CHECK(other.inbox.handled(uuid));
}

TEST_CASE("two groups in one file know nothing of each other") {
  const TempDir folder;
  Joined mailer{folder / "inbox.db", "mailer"}, audit{folder / "inbox.db", "audit"};
  CHECK(claim(mailer.inbox, uuid));
  record(mailer.inbox, "other", {.starts = 3, .last_error = "no"});
  CHECK_FALSE(audit.inbox.handled(uuid));
  CHECK(audit.inbox.attempts("other").starts == 0);
  CHECK(claim(audit.inbox, uuid));

  let_handled_long_ago(folder / "inbox.db", "true");
  CHECK(prune(mailer.inbox, hours{24}, 100));
  CHECK_FALSE(mailer.inbox.handled(uuid));
  CHECK(audit.inbox.handled(uuid));
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

TEST_CASE("ids that only look like the same UUID stay distinct") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  std::string upper = uuid;
  std::ranges::transform(upper, upper.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'f' ? static_cast<char>(letter - 32) : letter;
  });
  std::string bare = uuid;
  std::erase(bare, '-');
  std::string bytes;  // the very bytes that the UUID is kept in
  for (std::size_t i = 0; i < bare.size(); i += 2)
    bytes += static_cast<char>(std::stoi(bare.substr(i, 2), nullptr, 16));
  const std::vector<std::string> ids{uuid,
                                     upper,
                                     bare,
                                     "{" + uuid + "}",
                                     uuid + " ",
                                     bytes,
                                     "0190d5a-27c3e-7b1f-8a6d-3f2e1d0c9b8a",
                                     std::string(36, '-')};
  for (const auto& id : ids) {
    INFO(id);
    CHECK(claim(joined.inbox, id));
  }
  for (const auto& id : ids) {
    INFO(id);
    CHECK_FALSE(claim(joined.inbox, id));
  }
  CHECK(sqlite::number(folder / "inbox.db", "SELECT count(*) FROM inbox WHERE typeof(event_id) = 'blob'") ==
        1);
}

TEST_CASE("a rolled back savepoint undoes its claim and writes, and nothing else") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  auto& inbox = joined.inbox;
  inbox.database().exec("CREATE TABLE effect(id TEXT)");
  inbox.begin();
  for (const char* id : {"one", "two", "three"}) {
    inbox.savepoint();
    CHECK(inbox.claim(id));
    inbox.transaction().exec("INSERT INTO effect VALUES ('" + std::string(id) + "')");
    if (id == std::string("two")) inbox.rollback_to_savepoint();
    inbox.release_savepoint();
  }
  inbox.commit();
  CHECK(inbox.handled("one"));
  CHECK_FALSE(inbox.handled("two"));
  CHECK(inbox.handled("three"));
  CHECK(sqlite::column(folder / "inbox.db", "SELECT id FROM effect ORDER BY rowid") ==
        std::vector<std::string>{"one", "three"});
}

TEST_CASE("a rollback undoes everything since begin, and without a transaction it does nothing") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  joined.inbox.rollback();
  joined.inbox.begin();
  CHECK(joined.inbox.claim("one"));
  joined.inbox.savepoint();
  CHECK(joined.inbox.claim("two"));
  joined.inbox.rollback();
  joined.inbox.rollback();
  CHECK_FALSE(joined.inbox.handled("one"));
  CHECK_FALSE(joined.inbox.handled("two"));
}

TEST_CASE("attempts are counted by event, kept in the file and forgotten on demand") {
  const TempDir folder;
  {
    Joined joined{folder / "inbox.db"};
    CHECK(joined.inbox.attempts(uuid).starts == 0);
    CHECK(joined.inbox.attempts(uuid).last_error.empty());
    record(joined.inbox, uuid, {.starts = 1, .last_error = "first"});
    record(joined.inbox, uuid, {.starts = 2, .last_error = "second"});
    record(joined.inbox, "other", {.starts = 7, .last_error = {}});
  }
  Joined again{folder / "inbox.db"};
  CHECK(again.inbox.attempts(uuid).starts == 2);
  CHECK(again.inbox.attempts(uuid).last_error == "second");
  again.inbox.begin();
  again.inbox.forget_attempts(uuid);
  again.inbox.commit();
  CHECK(again.inbox.attempts(uuid).starts == 0);
  CHECK(again.inbox.attempts("other").starts == 7);
}

TEST_CASE("pruning goes in steps, forgets only what is old, and comes to an end") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Joined joined{file};
  constexpr int limit = 3;
  joined.inbox.begin();
  for (int i = 10; i < 30; ++i) {  // ten UUIDs and ten texts, old and new alternating
    const auto number = std::to_string(i);
    CHECK(joined.inbox.claim(i < 20 ? "0190d5a2-7c3e-7b1f-8a6d-3f2e1d0c9b" + number : "event-" + number));
  }
  joined.inbox.commit();
  let_handled_long_ago(file, "length(event_id) = 16 AND substr(hex(event_id), 32) IN ('0','2','4','6','8')");
  let_handled_long_ago(file, "typeof(event_id) = 'text' AND substr(event_id, 8) IN ('0','2','4','6','8')");
  const auto count = [&] { return sqlite::number(file, "SELECT count(*) FROM inbox"); };
  REQUIRE(sqlite::number(file, "SELECT count(*) FROM inbox WHERE handled_at = 1000") == 10);

  int steps = 0;
  for (bool round_done = false; !round_done; ++steps) {
    REQUIRE(steps < 100);
    const auto before = count();
    round_done = prune(joined.inbox, hours{24}, limit);
    CHECK(before - count() <= limit);
  }
  CHECK(steps == 7);  // twenty rows, three at a time
  CHECK(sqlite::number(file, "SELECT count(*) FROM inbox WHERE handled_at = 1000") == 0);
  CHECK(count() == 10);

  // The next round begins at the first row again.
  let_handled_long_ago(file, "event_id = (SELECT min(event_id) FROM inbox)");
  CHECK_FALSE(prune(joined.inbox, hours{24}, limit));
  CHECK(count() == 9);
}

TEST_CASE("pruning an empty inbox ends at once") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  CHECK(prune(joined.inbox, hours{24}, 1000));
}

TEST_CASE("pruning forgets old attempts and keeps new ones") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  record(joined.inbox, "old", {.starts = 2, .last_error = "x"});
  record(joined.inbox, "new", {.starts = 2, .last_error = "x"});
  sqlite::execute(folder / "inbox.db", "UPDATE inbox_attempt SET updated_at = 1000 WHERE event_id = 'old'");
  CHECK(prune(joined.inbox, hours{24}, 10));
  CHECK(joined.inbox.attempts("old").starts == 0);
  CHECK(joined.inbox.attempts("new").starts == 2);
}

TEST_CASE("one inbox object serves one consumer") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  CHECK_THAT(error_of<Error>([&] { joined.inbox.join("other"); }), ContainsSubstring("its own SqliteInbox"));
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

TEST_CASE("any number of instances may open a new inbox at the same moment") {
  const TempDir folder;
  constexpr int instances = 8;
  for (int round = 0; round < 5; ++round) {
    const auto file = folder / ("inbox" + std::to_string(round) + ".db");
    std::barrier start{instances};
    std::vector<std::string> errors(instances);
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < instances; ++i)
        threads.emplace_back([&, i] {
          start.arrive_and_wait();
          try {
            Joined joined{file};
            if (!claim(joined.inbox, "event" + std::to_string(i))) errors[i] = "not claimed";
          } catch (const std::exception& error) {
            errors[i] = error.what();
          }
        });
    }
    for (const auto& error : errors) CHECK(error == "");
    CHECK(sqlite::number(file, "SELECT count(*) FROM inbox JOIN inbox_group ON id = group_id") == instances);
  }
}

TEST_CASE("a lock that another holds is the database's trouble and passes with it") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  joined.inbox.database().setBusyTimeout(1);
  {
    SQLite::Database other{(folder / "inbox.db").string(), SQLite::OPEN_READWRITE};
    other.exec("BEGIN IMMEDIATE");
    CHECK(is_trouble(joined.inbox, [&] { joined.inbox.begin(); }));
    CHECK(is_trouble(joined.inbox, [&] { joined.inbox.begin(); }));
  }
  CHECK(claim(joined.inbox, uuid));
}

TEST_CASE("a full disk is the database's trouble and passes with it") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  auto& inbox = joined.inbox;
  const auto pages = inbox.database().execAndGet("PRAGMA page_count").getInt();
  inbox.database().exec("PRAGMA max_page_count = " + std::to_string(pages));
  inbox.begin();
  CHECK(is_trouble(inbox, [&] {
    for (int i = 0; i < 1000; ++i) (void)inbox.claim("event-with-a-long-enough-name-" + std::to_string(i));
  }));
  inbox.rollback();
  inbox.database().exec("PRAGMA max_page_count = 1000000");
  CHECK(claim(inbox, uuid));
}

TEST_CASE("a database that cannot be written is the database's trouble") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  joined.inbox.database().exec("PRAGMA query_only = ON");
  CHECK(is_trouble(joined.inbox, [&] { joined.inbox.record_attempts("x", {}); }));
}

TEST_CASE("a handler's own mistakes in SQL are not the database's trouble") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  auto& database = joined.inbox.database();
  database.exec("CREATE TABLE effect(id TEXT PRIMARY KEY NOT NULL, size INTEGER CHECK (size > 0))");
  database.exec("INSERT INTO effect VALUES ('one', 1)");
  const char* const statement =
      GENERATE("INSERT INTO effect VALUES ('one', 1)", "INSERT INTO effect VALUES (NULL, 1)",
               "INSERT INTO effect VALUES ('two', 0)", "INSERT INTO missing VALUES (1)", "NOT SQL");
  INFO(statement);
  CHECK_FALSE(is_trouble(joined.inbox, [&] { database.exec(statement); }));
}

TEST_CASE("an error that is not SQLite's is not the database's trouble") {
  const TempDir folder;
  Joined joined{folder / "inbox.db"};
  CHECK_FALSE(joined.inbox.is_trouble(std::runtime_error("database is locked")));
}
