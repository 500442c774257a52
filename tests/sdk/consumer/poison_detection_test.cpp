// Starts and failures that are counted: what ends its process again and again is found, and its neighbours
// are not blamed. Without NATS.

#include "support/batch_instance.hpp"
#include "support/catch.hpp"
#include "support/child.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

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
