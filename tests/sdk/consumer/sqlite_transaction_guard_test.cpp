// Handlers that end, block or leave behind what belongs to the inbox's transaction in SQLite. Without NATS.

#include "support/batch_instance.hpp"
#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <functional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

TEST_CASE("a handler whose writes fail only at the commit is judged alone") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  BatchInstance instance{file, [](const Delivery& delivery, SQLite::Database& tx) {
                           if (delivery.event.id == "b") tx.exec("INSERT INTO child VALUES (99)");
                         }};
  instance.sqlite_inbox.database().exec(
      "PRAGMA foreign_keys = ON; CREATE TABLE parent(id INTEGER PRIMARY KEY);"
      "CREATE TABLE child(parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)");
  CHECK(kinds(instance.run_batch({"a", "b", "c"})) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK(effects(file) == std::vector<std::string>{"a", "c"});
  CHECK(instance.run_isolated("b").kind == Kind::retry);
  const auto last = instance.run_isolated("b");
  CHECK(last.kind == Kind::dead_letter);
  CHECK_THAT(last.reason, ContainsSubstring("FOREIGN KEY"));
  CHECK(sqlite::number(file, "SELECT count(*) FROM child") == 0);
}

TEST_CASE("a handler that ends the transaction fails alone, however it does that") {
  struct Way {
    std::string name;
    std::function<void(SQLite::Database&, SQLite::Statement& commit, SQLite::Statement& rollback)> end;
  };
  const auto hidden = [](const auto& action) {
    try {
      action();
    } catch (const SQLite::Exception&) {
    }
  };
  const auto again = [](SQLite::Statement& statement) {
    statement.tryReset();
    statement.exec();
  };
  const auto throws = [] { throw std::runtime_error("mail server down"); };
  const auto way = GENERATE_COPY(values<Way>({
      {"commits", [](auto& tx, auto&, auto&) { tx.exec("/* all */ commit"); }},
      {"ends", [](auto& tx, auto&, auto&) { tx.exec("END TRANSACTION"); }},
      {"rolls back", [](auto& tx, auto&, auto&) { tx.exec("ROLLBACK"); }},
      {"commits, hides the error and throws",
       [&](auto& tx, auto&, auto&) {
         hidden([&] { tx.exec("COMMIT"); });
         throws();
       }},
      {"commits and hides the error", [&](auto& tx, auto&, auto&) { hidden([&] { tx.exec("COMMIT"); }); }},
      {"has a COMMIT at hand", [&](auto&, auto& commit, auto&) { again(commit); }},
      {"has a COMMIT at hand, and hides the error",
       [&](auto&, auto& commit, auto&) { hidden([&] { again(commit); }); }},
      {"has a COMMIT at hand, and goes on",
       [&](auto& tx, auto& commit, auto&) {
         hidden([&] { again(commit); });
         hidden([&] { tx.exec("INSERT INTO effect VALUES ('late')"); });
       }},
      {"has a ROLLBACK at hand", [&](auto&, auto&, auto& rollback) { again(rollback); }},
      {"has a ROLLBACK at hand, and throws",
       [&](auto&, auto&, auto& rollback) {
         again(rollback);
         throws();
       }},
      {"rolls back and begins anew",
       [&](auto& tx, auto&, auto& rollback) {
         again(rollback);
         tx.exec("BEGIN IMMEDIATE");
         tx.exec("INSERT INTO effect VALUES ('late')");
       }},
      {"has its transaction rolled back",
       [](auto& tx, auto&, auto&) { tx.exec("INSERT OR ROLLBACK INTO once VALUES (1)"); }},
      {"has its transaction rolled back, and hides that",
       [&](auto& tx, auto&, auto&) { hidden([&] { tx.exec("INSERT OR ROLLBACK INTO once VALUES (1)"); }); }},
  }));
  const bool alone_at_first = GENERATE(false, true);
  CAPTURE(way.name, alone_at_first);
  const TempDir folder;
  const auto file = folder / "inbox.db";
  SQLite::Statement *commit = nullptr, *rollback = nullptr;
  BatchInstance instance{file, [&](const Delivery& delivery, SQLite::Database& tx) {
                           if (delivery.event.id == "b") way.end(tx, *commit, *rollback);
                         }};
  auto& database = instance.sqlite_inbox.database();
  database.exec("CREATE TABLE once(id INTEGER PRIMARY KEY); INSERT INTO once VALUES (1)");
  SQLite::Statement cached_commit{database, "COMMIT"}, cached_rollback{database, "ROLLBACK"};
  commit = &cached_commit;
  rollback = &cached_rollback;
  if (alone_at_first) {  // no rollback of the inbox's has had the cached statements prepared anew
    const auto settlement = instance.run_isolated("b");
    CHECK(settlement.kind == Kind::retry);
    CHECK_THAT(settlement.reason, ContainsSubstring("must not end the inbox's transaction"));
    CHECK(effects(file).empty());
    CHECK_FALSE(instance.inbox.handled({"b"}));
    CHECK(instance.inbox.attempts({"b"})->starts == 1);
    return;
  }
  const auto settlements = instance.run_batch({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK_THAT(settlements[1].reason, ContainsSubstring("must not end the inbox's transaction"));
  CHECK(effects(file) == std::vector<std::string>{"a", "c"});
  CHECK_FALSE(instance.inbox.handled({"b"}));
  CHECK(instance.inbox.attempts({"b"})->starts == 1);
  CHECK(instance.run_isolated("b").kind == Kind::retry);
  CHECK(instance.run_isolated("b").kind == Kind::dead_letter);
  CHECK(effects(file) == std::vector<std::string>{"a", "c"});
  CHECK(kinds(instance.run_batch({"d"})) == std::vector{Kind::handled});
}

TEST_CASE("handlers may make savepoints, except for the inbox's own") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  const std::string statement =
      GENERATE("SAVEPOINT tidings_delivery", "RELEASE \"Tidings_Delivery\"", "ROLLBACK TO tidings_delivery");
  CAPTURE(statement);
  BatchInstance instance{file, [&](const Delivery& delivery, SQLite::Database& tx) {
                           tx.exec("SAVEPOINT delivery");
                           tx.exec("INSERT INTO effect VALUES ('undone')");
                           tx.exec("ROLLBACK TO delivery");
                           if (delivery.event.id == "b") {
                             tx.exec(statement);
                             fail();
                           }
                         }};
  CHECK(kinds(instance.run_batch({"a", "b", "c"})) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK(effects(file) == std::vector<std::string>{"a", "c"});
  CHECK_FALSE(instance.inbox.handled({"b"}));
}

TEST_CASE("a handler that makes the inbox's connection read-only fails alone") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  BatchInstance instance{file, [](const Delivery& delivery, SQLite::Database& tx) {
                           if (delivery.event.id == "b") tx.exec("PRAGMA query_only = ON");
                         }};
  const auto settlements = instance.run_through({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK(effects(file) == std::vector<std::string>{"a", "c"});
}

TEST_CASE("a statement that a handler leaves before its end is reset, and told once") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  SQLite::Statement* statement = nullptr;
  const bool leave_write = GENERATE(false, true);
  const bool throws = GENERATE(false, true);
  CAPTURE(leave_write, throws);
  BatchInstance instance{file, [&](const Delivery& delivery, SQLite::Database&) {
                           statement->bind(1, delivery.event.id);
                           statement->executeStep();
                           if (throws && delivery.event.id == "b") fail();
                         }};
  auto& database = instance.sqlite_inbox.database();
  database.setBusyTimeout(1);
  const std::string text = leave_write
                               ? "INSERT INTO effect SELECT value || ? FROM json_each('[1,2]') RETURNING id"
                               : "SELECT id FROM effect WHERE id <= ? ORDER BY rowid";
  SQLite::Statement cached{database, text};
  statement = &cached;
  const Log log;
  const auto second = throws ? Kind::retry : Kind::handled;
  CHECK(kinds(instance.run_batch({"a", "b", "c"})) == std::vector{Kind::handled, second, Kind::handled});
  sqlite::execute(file, "INSERT INTO effect VALUES ('of another process')");
  CHECK(kinds(instance.run_batch({"d"})) == std::vector{Kind::handled});
  CHECK(instance.run_isolated("b").kind == (throws ? Kind::retry : Kind::duplicate));
  CHECK(instance.run_isolated("e").kind == Kind::handled);
  const auto told = log.text();
  const auto first = told.find(text);
  REQUIRE(first != std::string::npos);
  CHECK(told.find(text, first + 1) == std::string::npos);
}
