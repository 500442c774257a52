// Transient errors: the inbox's use no attempt, a handler's own end as its failure. Without NATS.

#include "support/batch_instance.hpp"
#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

TEST_CASE("an unavailable inbox uses no attempt of the messages in a batch") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  BatchInstance instance{file};
  instance.sqlite_inbox.database().setBusyTimeout(1);
  auto batch = BatchInstance::deliveries({"a", "b"});
  {
    SQLite::Database other{file.string(), SQLite::OPEN_READWRITE};
    other.exec("BEGIN IMMEDIATE");
    CHECK_THROWS_AS((void)instance.run_batch(batch), InboxUnavailable);
    CHECK_THROWS_AS((void)instance.executor.run_isolated(batch.front()), InboxUnavailable);
  }
  CHECK(instance.started.empty());
  CHECK(kinds(instance.run_batch(batch)) == std::vector{Kind::handled, Kind::handled});
  CHECK(instance.attempts == std::vector{1, 1});
}

TEST_CASE("a transient error in the middle of a batch leaves nothing of its event behind") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", [](const Delivery& delivery, SQLite::Database& tx) {
                           if (delivery.event.id != "b") return;
                           tx.exec("PRAGMA max_page_count = 1");  // no less than there are: full from now on
                           tx.exec("CREATE TABLE big AS SELECT zeroblob(100000) AS bytes");
                         }};
  CHECK(kinds(instance.run_batch({"a", "b", "c"})) == std::vector{Kind::handled});
  CHECK_THROWS_AS((void)instance.run_batch({"b", "c"}), InboxUnavailable);
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a"});
  CHECK(sqlite::number(folder / "inbox.db", "SELECT count(*) FROM inbox") == 1);
  CHECK(sqlite::number(folder / "inbox.db", "SELECT count(*) FROM inbox_attempt") == 0);
  instance.sqlite_inbox.database().exec("PRAGMA max_page_count = 1000000");
  CHECK(kinds(instance.run_batch({"a", "c"})) == std::vector{Kind::duplicate, Kind::handled});
}

TEST_CASE("a handler whose own database stays away is to blame for it, and its neighbours run once") {
  const TempDir folder;
  const auto missing = (folder / "missing" / "geo.db").string();
  BatchInstance instance{folder / "inbox.db", on_id("b", [&missing] {
                           SQLite::Database{missing, SQLite::OPEN_READWRITE};
                         })};
  const auto settlements = instance.run_through({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK_THAT(settlements.at(1).reason, ContainsSubstring("unable to open"));
  CHECK(instance.inbox.attempts({"b"})->starts == 1);
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "c"});
  CHECK(std::ranges::count(instance.started, "a") == 1);
  CHECK(std::ranges::count(instance.started, "b") <= 5);
  CHECK(std::ranges::count(instance.started, "c") == 1);
  // The next of that kind hold nobody up.
  CHECK(instance.run_isolated("b").kind == Kind::retry);
  CHECK(instance.run_isolated("b").kind == Kind::dead_letter);
}

TEST_CASE("a handler that writes the inbox's file over a second connection is to blame for the lock") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  BatchInstance instance{file, on_id("b", [&file] {
                           SQLite::Database{file.string(), SQLite::OPEN_READWRITE}.exec(
                               "INSERT INTO effect VALUES ('second connection')");
                         })};
  const auto settlements = instance.run_through({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK_THAT(settlements.at(1).reason, ContainsSubstring("locked"));
  CHECK(effects(file) == std::vector<std::string>{"a", "c"});
}

TEST_CASE("a transient error while a redelivered message runs counts its start once") {
  const TempDir folder;
  const auto locked = folder / "other.db";
  sqlite::execute(locked, "CREATE TABLE other(id)");
  int calls = 0;
  BatchInstance instance{
      folder / "inbox.db", on_id("a", [&] {
        ++calls;
        SQLite::Database{locked.string(), SQLite::OPEN_READWRITE}.exec("INSERT INTO other VALUES (1)");
      })};
  auto redelivered = BatchInstance::deliveries({"a"});
  {
    SQLite::Database holder{locked.string(), SQLite::OPEN_READWRITE};
    holder.exec("BEGIN IMMEDIATE");
    for (int i = 0; i < 3; ++i)
      CHECK_THROWS_AS((void)instance.executor.run_isolated(redelivered.front()), InboxUnavailable);
  }
  const auto settlement = instance.executor.run_isolated(redelivered.front());
  CHECK(settlement.kind == Kind::handled);
  CHECK(settlement.attempts == 1);
  CHECK(calls == 4);
  CHECK(instance.attempts == std::vector{1, 1, 1, 1});
}
