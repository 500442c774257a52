// What is PostgreSQL's own about the outbox: transactions that commit late, other writers, who is woken.

#include "infrastructure/commit_watch.hpp"
#include "infrastructure/postgres/postgres_database.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/stepped_service.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_repository.hpp>

#include <thread>

using namespace tidings;
using namespace tidings::test;

namespace {

using Ids = std::vector<std::string>;

Ids next(Outbox& outbox, int limit = 1000) {
  std::vector<OutboxEvent> events;
  outbox.repository().read_pending(limit, events);
  Ids ids;
  for (const auto& event : events) ids.push_back(event.id);
  return ids;
}

}  // namespace

TEST_CASE("a transaction that commits late is read late, and not lost") {
  Outbox outbox{Engine::postgres};
  Service slow{outbox}, quick{outbox};
  slow.begin();
  slow.add("slow");
  CHECK(next(outbox).empty());
  for (const auto* id : {"first", "second"}) {
    quick.begin();
    quick.add(id);
    quick.commit();
    CHECK(next(outbox) == Ids{id});
  }
  slow.commit();
  CHECK(next(outbox) == Ids{"slow"});
  CHECK(next(outbox).empty());
}

TEST_CASE("a row of a savepoint is read when its transaction commits, and not when it is rolled back") {
  Outbox outbox{Engine::postgres};
  Service service{outbox}, other{outbox};
  service.begin();
  service.add("before");
  service.run("SAVEPOINT one");
  service.add("kept");
  service.run("SAVEPOINT two");
  service.add("undone");
  service.run("ROLLBACK TO SAVEPOINT two");
  other.begin();
  other.add("other");
  other.commit();
  CHECK(next(outbox) == Ids{"other"});
  service.commit();
  CHECK(next(outbox) == Ids{"before", "kept"});
  CHECK(next(outbox).empty());
}

TEST_CASE("a row whose createdAt lies far back is read soon, whenever it is committed") {
  Outbox outbox{Engine::postgres};
  outbox.execute(insert("new"));
  CHECK(next(outbox) == Ids{"new"});
  outbox.execute(insert("old", "'2020-01-01'"));
  Ids read;
  REQUIRE_WITHIN(10s, [&] {
    for (const auto& id : next(outbox)) read.push_back(id);
    return !read.empty();
  }());
  CHECK(read == Ids{"old"});
  outbox.execute(insert("older", "'-infinity'"));
  outbox.execute(insert("ahead", "'infinity'"));
  REQUIRE_WITHIN(10s, [&] {
    for (const auto& id : next(outbox)) read.push_back(id);
    return read.size() == 3;
  }());
}

TEST_CASE("an operator's row that is set back to PENDING is read again") {
  Outbox outbox{Engine::postgres};
  outbox.execute(insert("one") + ";" + insert("two"));
  CHECK(next(outbox).size() == 2);
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER' WHERE id = 'one'");
  CHECK(next(outbox).empty());
  outbox.execute("UPDATE outbox_event SET status = 'PENDING' WHERE id = 'one'");
  Ids read;
  REQUIRE_WITHIN(10s, [&] {
    for (const auto& id : next(outbox)) read.push_back(id);
    return !read.empty();
  }());
  CHECK(read == Ids{"one"});
}

TEST_CASE("between the pages of a scan nothing overtakes an event of its aggregate that commits meanwhile") {
  // Both transactions have their ids before the look; the second waits for the first, as for a row lock.
  Outbox outbox{Engine::postgres};
  Service first{outbox}, second{outbox};
  second.begin();
  second.add("second's own", "other");
  first.begin();
  first.add("early");  // stands before what the first page reads
  for (const auto* id : {"x1", "x2", "x3", "x4"}) outbox.add(id);
  CHECK(next(outbox, 2).size() == 2);
  first.commit();
  second.add("late");
  second.commit();
  Ids rest;
  REQUIRE_WITHIN(10s, [&] {
    for (const auto& id : next(outbox, 2)) rest.push_back(id);
    return rest.size() == 5;
  }());
  const auto place = [&](const char* id) { return std::find(rest.begin(), rest.end(), id) - rest.begin(); };
  CHECK(place("early") < place("late"));
}

TEST_CASE("writers of one aggregate that a row lock puts in order are never inverted") {
  Outbox outbox{Engine::postgres};
  outbox.execute(
      "CREATE TABLE account(id text PRIMARY KEY, n integer NOT NULL); INSERT INTO account VALUES ('a', 0)");
  constexpr int writers = 8, each = 100;
  std::vector<std::jthread> threads;
  std::atomic<int> done{0};
  for (int writer = 0; writer < writers; ++writer)
    threads.emplace_back([&outbox, &done] {
      const auto database = Database::open(outbox.url());
      const auto events = database->outbox();
      for (int i = 0; i < each; ++i)
        database->transact([&](Transaction& transaction) {
          DomainEvent event;  // its id is older than what others do while this one waits for the lock
          event.aggregate_id = "a";
          event.aggregate_type = "User";
          event.event_type = "user.created";
          database->exec("SELECT pg_current_xact_id()");  // nor does the transaction's id tell the order
          const auto n = database->exec("UPDATE account SET n = n + 1 WHERE id = 'a' RETURNING n").text(0, 0);
          event.data = {{"n", n}};
          events->add(transaction, event);
        });
      ++done;
    });
  std::vector<int> read;
  REQUIRE_WITHIN(60s, [&] {
    std::vector<OutboxEvent> page;
    outbox.repository().read_pending(7, page);
    for (const auto& event : page)
      read.push_back(
          std::stoi(nlohmann::json::parse(event.event_data).at("data").at("n").get<std::string>()));
    return read.size() == writers * each;
  }());
  for (std::size_t i = 1; i < read.size(); ++i)
    if (read[i] <= read[i - 1]) FAIL_CHECK("after " << read[i - 1] << " came " << read[i] << " at " << i);
  // And as the table has them: what a successor goes by.
  CHECK(outbox.number(
            "SELECT count(*) FROM (SELECT (eventData->'data'->>'n')::integer AS n, lag((eventData->'data'"
            "->>'n')::integer) OVER (ORDER BY createdAt, id COLLATE \"C\") AS before FROM outbox_event) "
            "AS o WHERE o.n < o.before") == 0);
}

TEST_CASE("what a transaction that stays open holds back costs neither order nor memory without end") {
  Outbox outbox{Engine::postgres};
  Service open{outbox};
  open.begin();
  open.add("open", "its own");
  Ids read;
  for (int i = 0; i < 300; ++i) {
    outbox.add("a");
    for (const auto& id : next(outbox)) read.push_back(id);
    outbox.execute("UPDATE outbox_event SET status = 'PUBLISHED' WHERE status = 'PENDING' AND id <> 'open'");
  }
  CHECK(read == [&] {
    auto all = outbox.in_order();
    std::erase(all, "open");
    return all;
  }());
  open.commit();
  CHECK(next(outbox) == Ids{"open"});
}

TEST_CASE("a commit wakes who waits for one: our own always, others' with the trigger") {
  Outbox outbox{Engine::postgres};
  const bool trigger = GENERATE(false, true);
  CAPTURE(trigger);
  if (trigger) outbox.database().add_notify_trigger();
  const auto watch = CommitWatch::open(outbox.url());
  // Connects, and says that it is worth a look before it waits.
  CHECK(watch->wait(5s));
  CHECK_FALSE(watch->wait(100ms));
  const auto begun = std::chrono::steady_clock::now();
  outbox.add("a");
  CHECK(watch->wait(20s));
  outbox.execute(insert("foreign"));
  CHECK(watch->wait(trigger ? 20s : 200ms) == trigger);
  CHECK(std::chrono::steady_clock::now() - begun < 15s);
  if (trigger) {
    outbox.database().add_notify_trigger();  // again: there is one
    outbox.execute("BEGIN; " + insert("rolled back") + "; ROLLBACK");
    CHECK_FALSE(watch->wait(200ms));
  }
}

TEST_CASE("who sleeps lets no writer notify for nothing, and is woken again once it waits") {
  Outbox outbox{Engine::postgres};
  const auto watch = CommitWatch::open(outbox.url());
  const auto holds_lock = [&] {
    return outbox.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 1;
  };
  for (int i = 0; i < 2; ++i) {
    CHECK(watch->wait(5s));
    CHECK_FALSE(watch->wait(100ms));
    CHECK(holds_lock());
    outbox.add("a");
    CHECK(watch->wait(20s));
    watch->sleep(1ms);
    REQUIRE_WITHIN(5s, !holds_lock());
  }
}

TEST_CASE("who may not take the lock that writers check polls, and does not try without end") {
  Outbox outbox{Engine::postgres};
  outbox.execute(
      "CREATE ROLE poor LOGIN; REVOKE EXECUTE ON FUNCTION pg_try_advisory_lock(int, int) FROM PUBLIC");
  const auto watch = CommitWatch::open(
      "postgresql://poor@127.0.0.1:" + std::to_string(outbox.server().port()) + "/postgres");
  CHECK_FALSE(watch->wait(300ms));
  const auto log = outbox.server().log();
  int tries = 0;
  for (auto at = log.find("permission denied"); at != std::string::npos;
       at = log.find("permission denied", at + 1))
    ++tries;
  CHECK(tries == 1);
}

TEST_CASE("no commit is missed by who watches, however it falls between scanning and waiting") {
  Outbox outbox{Engine::postgres};
  const auto watch = CommitWatch::open(outbox.url());
  constexpr int events = 400;
  std::jthread writer{[&outbox] {
    const auto database = Database::open(outbox.url());
    const auto rows = database->outbox();
    for (int i = 0; i < events; ++i) {
      database->transact([&](Transaction& transaction) {
        DomainEvent event;
        event.aggregate_id = "a";
        rows->add(transaction, event);
      });
      if (i % 3 == 0) std::this_thread::yield();
    }
  }};
  std::size_t seen = 0;
  const auto begun = std::chrono::steady_clock::now();
  while (seen < events) {
    const auto found = next(outbox).size();
    seen += found;
    if (found > 0) watch->found();
    if (found == 0) REQUIRE(watch->wait(20s));  // at its end there would have been one that nobody told of
  }
  CHECK(std::chrono::steady_clock::now() - begun < 60s);
}

TEST_CASE("while writers overlap they do not notify: who watches scans by itself") {
  Outbox outbox{Engine::postgres};
  const auto watch = CommitWatch::open(outbox.url());
  CHECK(watch->wait(5s));
  CHECK_FALSE(watch->wait(50ms));
  PostgresConnection listener{outbox.url()};
  listener.connect();
  listener.exec("LISTEN outbox_event");
  constexpr int overlapping = 8;
  std::atomic<int> committed{0};
  std::vector<std::jthread> writers;
  for (int i = 0; i < overlapping; ++i)
    writers.emplace_back([&](const std::stop_token& stop) {
      const auto database = Database::open(outbox.url());
      const auto rows = database->outbox();
      while (!stop.stop_requested()) {
        database->transact([&](Transaction& transaction) {
          DomainEvent event;
          event.aggregate_id = std::to_string(committed);
          rows->add(transaction, event);
        });
        ++committed;
      }
    });
  const auto scan = [&] {
    if (!next(outbox).empty()) watch->found();
    (void)watch->wait(10ms);
  };
  // A writer that is always about to commit: a slow machine may let all commits of the others end before the
  // next begins, and those do not overlap.
  PostgresConnection slow{outbox.url()};
  slow.connect();
  REQUIRE_WITHIN(60s, [&] {
    scan();
    return slow.exec("SELECT pg_try_advisory_lock_shared" + wake_lock::key).text(0, 0) == "t";
  }());
  listener.exec("SELECT 1");
  CHECK(listener.take_notifications() > 0);
  const int before = committed;
  REQUIRE_WITHIN(60s, [&] {
    scan();
    return committed > before + 2000;
  }());
  for (auto& writer : writers) writer.request_stop();
  writers.clear();
  listener.exec("SELECT 1");
  const int notified = listener.take_notifications();
  INFO(notified << " notifications of " << committed - before << " commits");
  CHECK(notified <= overlapping);  // of those that had begun to commit before
}
