// The life of a message inside the inbox, without NATS.

#include "consumer/batch_executor.hpp"

#include "support/batch_instance.hpp"
#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/log.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

TEST_CASE("messages in flight are committed together, in order") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  const auto settlements = instance.run_batch({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::handled, Kind::handled});
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "b", "c"});
  CHECK(instance.inbox.handled({"b"}));
  CHECK(instance.attempts == std::vector{1, 1, 1});
}

TEST_CASE("nothing of a batch is visible before its commit") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  std::int64_t seen = -1;
  BatchInstance instance{file, on_id("c", [&] {
                           seen = sqlite::number(
                               file, "SELECT (SELECT count(*) FROM effect) + (SELECT count(*) FROM inbox)");
                         })};
  CHECK(instance.run_batch({"a", "b", "c"}).size() == 3);
  CHECK(seen == 0);
  CHECK(effects(file).size() == 3);
}

TEST_CASE("one that fails is rolled back alone, its neighbours are committed") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("b", fail)};
  const auto settlements = instance.run_batch({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK(settlements[1].reason == "mail server down");
  CHECK(settlements[1].attempts == 1);
  CHECK(settlements[1].delay == instance.options.backoff.delay(1, "b"));
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "c"});
  CHECK_FALSE(instance.inbox.handled({"b"}));
  CHECK(instance.inbox.attempts({"b"})->starts == 1);
  CHECK_FALSE(instance.inbox.attempts({"a"}).has_value());
}

TEST_CASE("an event that was handled before has no second effect, together or alone") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  (void)instance.run_batch({"a", "b"});
  CHECK(kinds(instance.run_batch({"a", "c", "c"})) ==
        std::vector{Kind::duplicate, Kind::handled, Kind::duplicate});
  CHECK(instance.run_isolated("b").kind == Kind::duplicate);
  CHECK(instance.started == std::vector<std::string>{"a", "b", "c"});
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("an event that another instance handled has no second effect here") {
  const TempDir folder;
  BatchInstance one{folder / "inbox.db"}, other{folder / "inbox.db"};
  CHECK(one.run_isolated("a").kind == Kind::handled);
  CHECK(other.run_isolated("a").kind == Kind::duplicate);
  CHECK(kinds(other.run_batch({"a"})) == std::vector{Kind::duplicate});
  CHECK(other.started.empty());
}

TEST_CASE("an exception is retried with growing delay, then a dead letter") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("a", fail)};
  const auto first = instance.run_batch({"a"}).front();
  const auto second = instance.run_isolated("a");
  const auto third = instance.run_isolated("a");
  CHECK(first.kind == Kind::retry);
  CHECK(first.delay == instance.options.backoff.delay(1, "a"));
  CHECK(second.kind == Kind::retry);
  CHECK(second.delay == instance.options.backoff.delay(2, "a"));
  CHECK(second.attempts == 2);
  CHECK(third.kind == Kind::dead_letter);
  CHECK(third.reason == "mail server down");
  CHECK(third.attempts == 3);
  CHECK(instance.attempts == std::vector{1, 2, 3});
  CHECK(effects(folder / "inbox.db").empty());
}

TEST_CASE("a dead letter that comes back, since it could not be stored, is not started again") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", [](const Delivery& delivery, SQLite::Database&) {
                           if (delivery.event.id == "rejected") reject();
                           fail();
                         }};
  REQUIRE(instance.run_batch({"rejected"}).front().kind == Kind::dead_letter);
  REQUIRE(instance.run_batch({"failed"}).front().kind == Kind::retry);
  REQUIRE(instance.run_isolated("failed").kind == Kind::retry);
  REQUIRE(instance.run_isolated("failed").kind == Kind::dead_letter);
  const auto started = instance.started.size();

  const auto rejected = instance.run_isolated("rejected");
  CHECK(rejected.kind == Kind::dead_letter);
  CHECK(rejected.reason == "no such address");
  CHECK(rejected.attempts == 1);
  const auto failed = instance.run_isolated("failed");
  CHECK(failed.kind == Kind::dead_letter);
  CHECK(failed.reason == "mail server down");
  CHECK(failed.attempts == 3);
  CHECK(instance.started.size() == started);
}

TEST_CASE(
    "an event whose dead letter is stored starts from zero in a new message, and not in a copy of the old one") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("a", fail)};
  REQUIRE(instance.run_batch({"a"}).front().kind == Kind::retry);
  REQUIRE(instance.run_isolated("a").kind == Kind::retry);
  REQUIRE(instance.run_isolated("a").kind == Kind::dead_letter);
  CHECK(instance.run_isolated("a").kind == Kind::dead_letter);
  auto sent_again = BatchInstance::deliveries({"a"});
  sent_again.front().stored_at += 1s;
  CHECK(instance.run_batch(sent_again).front().kind == Kind::retry);
  sent_again.front().delivered = 2;
  CHECK(instance.executor.run_isolated(sent_again.front()).kind == Kind::retry);
  CHECK(instance.attempts == std::vector{1, 2, 3, 1, 2});
}

TEST_CASE("an event that has ended its process too often starts no more from a copy of its message") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  const auto died = [&](int starts) {
    transact(instance.inbox, [&] {
      instance.inbox.record_attempts({"a"},
                                     {.starts = starts, .state = Inbox::Attempts::State::running_isolated});
    });
  };
  died(3);
  CHECK(instance.run_isolated("a").kind == Kind::dead_letter);
  CHECK(instance.run_isolated("a").kind == Kind::dead_letter);
  auto sent_again = BatchInstance::deliveries({"a"});
  sent_again.front().stored_at += 1s;
  sent_again.front().delivered = 2;
  CHECK(instance.executor.run_isolated(sent_again.front()).kind == Kind::handled);
}

TEST_CASE("a success leaves no count of attempts behind") {
  const TempDir folder;
  bool broken = true;
  BatchInstance instance{folder / "inbox.db", on_id("a", [&broken] {
                           if (broken) fail();
                         })};
  CHECK(instance.run_batch({"a"}).front().kind == Kind::retry);
  broken = false;
  const auto settlement = instance.run_isolated("a");
  CHECK(settlement.kind == Kind::handled);
  CHECK(settlement.attempts == 2);
  CHECK(sqlite::number(folder / "inbox.db", "SELECT count(*) FROM inbox_attempt") == 0);
}

TEST_CASE("what a handler throws says what becomes of the message") {
  const TempDir folder;
  struct Case {
    std::function<void()> action;
    Kind kind;
    std::string reason;
  };
  const auto wanted = GENERATE(values<Case>({
      {[] { throw Reject("no such address"); }, Kind::dead_letter, "no such address"},
      {[] { throw Undecodable("data: is no JSON"); }, Kind::dead_letter, "data: is no JSON"},
      {[] { throw RetryAfter(30s, "come back later"); }, Kind::retry, "come back later"},
      {[] { throw std::runtime_error("mail server down"); }, Kind::retry, "mail server down"},
      {[] { throw Error("broker away", Error::Retry::yes); }, Kind::retry, "broker away"},
      {[] { throw 42; }, Kind::retry, "the handler threw something that is not a std::exception"},
  }));
  INFO(wanted.reason);
  const bool as_redelivered = GENERATE(false, true);
  BatchInstance instance{folder / "inbox.db", on_id("a", wanted.action)};
  const auto settlement = as_redelivered ? instance.run_isolated("a") : instance.run_batch({"a"}).front();
  CHECK(settlement.kind == wanted.kind);
  CHECK(settlement.reason == wanted.reason);
  CHECK(settlement.attempts == 1);
  CHECK(effects(folder / "inbox.db").empty());
  CHECK_FALSE(instance.inbox.handled({"a"}));
}

TEST_CASE("what a handler's error says is no record of ours: it is tried as often as any other") {
  const TempDir folder;
  const std::string words = GENERATE("for the dead letters: x", "the process ended while handling it",
                                     "the process ended while handling it, after one in a batch",
                                     "the process ended while handling it and others", "failed: x", "");
  INFO(words);
  BatchInstance instance{folder / "inbox.db", on_id("a", [&words] { throw std::runtime_error(words); })};
  CHECK(instance.run_batch({"a"}).front().kind == Kind::retry);
  CHECK(instance.run_isolated("a").kind == Kind::retry);
  const auto last = instance.run_isolated("a");
  CHECK(last.kind == Kind::dead_letter);
  CHECK(last.reason == words);
  CHECK(last.attempts == 3);
  CHECK(instance.attempts == std::vector{1, 2, 3});
}

TEST_CASE("RetryAfter sets the delay and still counts as an attempt") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("a", [] { throw RetryAfter(30s, "later"); })};
  CHECK(instance.run_batch({"a"}).front().delay == 30s);
  CHECK(instance.run_isolated("a").delay == 30s);
  const auto last = instance.run_isolated("a");
  CHECK(last.kind == Kind::dead_letter);
  CHECK(last.reason == "later");
  CHECK(last.attempts == 3);
}

TEST_CASE("what is held back in a batch goes back in order, behind the retry, however long the batch takes") {
  const TempDir folder;
  const auto handler = [](const Delivery& delivery, SQLite::Database&) {
    if (delivery.event.id == "hot-1") throw RetryAfter(30s, "later");
    if (delivery.event.partition_key != "hot") (void)eventually(100ms, [] { return false; });
  };
  BatchInstance instance{folder / "inbox.db", handler};
  auto batch = BatchInstance::deliveries({"hot-1", "hot-2", "slow-1", "hot-3", "slow-2"});
  for (std::size_t i = 0; i < batch.size(); ++i) {
    batch[i].stream_sequence = i + 1;
    batch[i].event.partition_key = batch[i].event.id.substr(0, batch[i].event.id.find('-'));
  }
  const auto settlements = instance.run_batch(batch);
  CHECK(kinds(settlements) ==
        std::vector{Kind::retry, Kind::held_back, Kind::handled, Kind::held_back, Kind::handled});
  CHECK(settlements[0].delay == 30s);
  for (const auto held_back : {1, 3})
    CHECK(settlements[static_cast<std::size_t>(held_back)].delay == 30050ms);
}

TEST_CASE("a type without a handler is ignored, or a dead letter by option") {
  const TempDir folder;
  const auto deliver = [](BatchInstance& instance, bool as_redelivered) {
    auto strange = BatchInstance::deliveries({"a"}, "user.renamed");
    return as_redelivered ? instance.executor.run_isolated(strange.front())
                          : instance.run_batch(strange).front();
  };
  const bool as_redelivered = GENERATE(false, true);
  BatchInstance lenient{folder / "inbox.db"};
  CHECK(deliver(lenient, as_redelivered).kind == Kind::ignored);
  BatchInstance strict{folder / "inbox.db", {}, [](ConsumerOptions& options) {
                         options.unhandled = ConsumerOptions::Unhandled::dead_letter;
                       }};
  const auto settlement = deliver(strict, as_redelivered);
  CHECK(settlement.kind == Kind::dead_letter);
  CHECK(settlement.reason == "no handler for the type user.renamed");
}

TEST_CASE("the start of a redelivered message is on disk before its handler runs") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  std::int64_t starts = 0;
  BatchInstance instance{file, on_id("a", [&] {
                           starts =
                               sqlite::number(file, "SELECT starts FROM inbox_attempt WHERE event_id = 'a'");
                         })};
  CHECK(instance.run_isolated("a").kind == Kind::handled);
  CHECK(starts == 1);
}

TEST_CASE("a message that kills the process is found by its count, and its neighbours are not blamed") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  const auto die = on_id("killer", [] { std::abort(); });
  // First in a batch with others, which does not count, then alone as redelivered; each time in a process of
  // its own.
  CHECK(signal_that_ends([&] {
          (void)BatchInstance{file, die}.run_batch({"before", "killer", "after"});
        }) == SIGABRT);
  for (int start = 1; start <= 3; ++start)
    CHECK(signal_that_ends([&] { (void)BatchInstance{file, die}.run_isolated("killer"); }) == SIGABRT);

  BatchInstance instance{file, die};
  const auto settlement = instance.run_isolated("killer");
  CHECK(settlement.kind == Kind::dead_letter);
  CHECK(settlement.reason == "the process ended or hung while handling it");
  CHECK(settlement.attempts == 3);
  CHECK(instance.run_isolated("before").kind == Kind::handled);
  CHECK(instance.run_isolated("after").kind == Kind::handled);
  CHECK(instance.attempts == std::vector{1, 1});
  CHECK(effects(file) == std::vector<std::string>{"before", "after"});
}

TEST_CASE("a death of a message that was merely given back before counts once") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  const auto twice = [](ConsumerOptions& options) { options.max_attempts = 2; };
  // It comes again, and no handler has started it: at a stop, or behind a retry of its key.
  CHECK(signal_that_ends([&] {
          (void)BatchInstance{file, on_id("a", [] { std::abort(); }), twice}.run_isolated("a");
        }) == SIGABRT);
  BatchInstance instance{file, {}, twice};
  const auto settlement = instance.run_isolated("a");
  CHECK(settlement.kind == Kind::handled);
  CHECK(settlement.attempts == 2);
}

TEST_CASE("errors before and deaths after are one count") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  CHECK(BatchInstance(file, on_id("a", fail)).run_isolated("a").attempts == 1);
  CHECK(signal_that_ends([&] {
          (void)BatchInstance{file, on_id("a", [] { std::abort(); })}.run_isolated("a");
        }) == SIGABRT);
  const auto settlement = BatchInstance(file, on_id("a", fail)).run_isolated("a");
  CHECK(settlement.kind == Kind::dead_letter);
  CHECK(settlement.attempts == 3);
}

TEST_CASE("a process that dies in a batch leaves no effect and no claim") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  CHECK(signal_that_ends([&] {
          (void)BatchInstance{file, on_id("b", [] { std::abort(); })}.run_batch({"a", "b"});
        }) == SIGABRT);
  BatchInstance instance{file};
  CHECK(effects(file).empty());
  CHECK_FALSE(instance.inbox.handled({"a"}));
  CHECK(instance.run_isolated("a").kind == Kind::handled);
}

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

TEST_CASE("a start that was cut short is not that of the same id from another source") {
  const TempDir folder;
  bool away = true;
  BatchInstance instance{folder / "inbox.db", [&away](const Delivery&, SQLite::Database&) {
                           if (std::exchange(away, false))
                             SQLite::Database{"/nonexistent/geo.db", SQLite::OPEN_READWRITE};
                           fail();
                         }};
  auto both = BatchInstance::deliveries({"7", "7"});
  both[0].event.source = "/shop";
  both[1].event.source = "/billing";
  CHECK_THROWS_AS((void)instance.executor.run_isolated(both[0]), InboxUnavailable);
  CHECK(instance.executor.run_isolated(both[1]).attempts == 1);
  CHECK(instance.inbox.attempts({"7", "/billing"})->starts == 1);
}

TEST_CASE("a start that is written down while a batch runs one by one is not taken for a death") {
  const TempDir folder;
  bool away = true;
  BatchInstance instance{folder / "inbox.db", [&away](const Delivery& delivery, SQLite::Database& tx) {
                           if (delivery.event.id == "b" && std::exchange(away, false))
                             SQLite::Database{"/nonexistent/geo.db", SQLite::OPEN_READWRITE};
                           tx.exec("INSERT OR ROLLBACK INTO once VALUES (1)");
                         }};
  instance.sqlite_inbox.database().exec(
      "CREATE TABLE once(id INTEGER PRIMARY KEY); INSERT INTO once VALUES (1)");
  const auto settlements = instance.run_through({"a", "b"});
  CHECK(kinds(settlements) == std::vector{Kind::retry, Kind::retry});
  CHECK(settlements[1].attempts == 1);
  CHECK(instance.started == std::vector<std::string>{"a", "a", "b", "b"});
  CHECK(instance.attempts == std::vector{1, 1, 1, 1});
}

TEST_CASE("a batch ends when its time is up, after at least one message") {
  const TempDir folder;
  BatchInstance instance{
      folder / "inbox.db",
      on_id("b",
            [] {
              const auto begun = std::chrono::steady_clock::now();
              (void)eventually(60s, [begun] { return std::chrono::steady_clock::now() > begun + 30ms; });
            }),
      [](ConsumerOptions& options) { options.max_batch_time = 30ms; }};
  CHECK(kinds(instance.run_batch({"a", "b", "c", "d"})) == std::vector{Kind::handled, Kind::handled});
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "b"});
  CHECK(instance.run_batch({"c", "d"}).size() == 2);

  BatchInstance hasty{
      folder / "inbox.db", {}, [](ConsumerOptions& options) { options.max_batch_time = 0ms; }};
  CHECK(hasty.run_batch({"e", "f"}).size() == 1);
}

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

TEST_CASE("what is pruned may take effect again, and nothing else") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  CHECK(instance.run_batch({"old", "new"}).size() == 2);
  sqlite::execute(folder / "inbox.db", "UPDATE inbox SET handled_at = 1000 WHERE event_id = 'old'");
  transact(instance.inbox, [&] { CHECK(instance.inbox.prune(std::chrono::hours{24}, 100)); });
  CHECK(kinds(instance.run_batch({"old", "new"})) == std::vector{Kind::handled, Kind::duplicate});
}
