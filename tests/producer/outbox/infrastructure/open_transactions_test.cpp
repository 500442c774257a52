// What is read from PostgreSQL's outbox after transactions that were open for a while: their events at once,
// and before those of writers who waited for them.

#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/stepped_service.hpp"
#include "support/tcp_proxy.hpp"
#include "support/wait.hpp"

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

using Clock = std::chrono::steady_clock;
using Ids = std::vector<std::string>;

/// Reads as a relay does, from so far away that scans of the whole table, which find what other scans skip,
/// are seconds apart: they take a hundredth of the time.
class Reader {
 public:
  explicit Reader(Outbox& outbox) : network_(outbox.server().port()) {
    network_.delay(20ms);
    database_ =
        Database::open("postgresql://tidings@127.0.0.1:" + std::to_string(network_.port()) + "/postgres");
    events_ = database_->outbox();
  }

  Ids next(int limit = 1000) {
    std::vector<OutboxEvent> events;
    events_->read_pending(limit, events);
    Ids ids;
    for (const auto& event : events) ids.push_back(event.id);
    return ids;
  }
  /// Long enough to take a transaction that began before it for one whose rows were seen.
  Ids read_for(std::chrono::milliseconds time) {
    Ids ids;
    for (const auto end = Clock::now() + time; Clock::now() < end;)
      for (auto& id : next()) ids.push_back(std::move(id));
    return ids;
  }

 private:
  TcpProxy network_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<OutboxRepository> events_;
};

constexpr std::chrono::milliseconds a_while{500};

void make_account(Outbox& outbox) {
  outbox.execute(
      "CREATE TABLE account(id text PRIMARY KEY, n integer NOT NULL); INSERT INTO account VALUES ('a', 0)");
}

const std::string lock_account = "UPDATE account SET n = n + 1 WHERE id = 'a'";

void wait_for_blocked_writer(Outbox& outbox) {
  REQUIRE_WITHIN(10s,
                 outbox.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == 1);
}

}  // namespace

TEST_CASE("an event of a transaction that was open for a while is read first thing after its commit") {
  Outbox outbox{Engine::postgres};
  Service slow{outbox}, other{outbox};
  Reader reader{outbox};
  REQUIRE(reader.next().empty());
  SECTION("while nobody else writes") {
    slow.begin();
    slow.add("slow");
    REQUIRE(reader.read_for(a_while).empty());
    slow.commit();
  }
  SECTION("while another transaction, with a smaller id, stays open") {
    other.begin();
    other.run("SELECT pg_current_xact_id()");
    slow.begin();
    slow.add("slow");
    REQUIRE(reader.read_for(a_while).empty());
    slow.commit();
  }
  SECTION("while another transaction, with a larger id, stays open") {
    slow.begin();
    slow.add("slow");
    other.begin();
    other.run("SELECT pg_current_xact_id()");
    REQUIRE(reader.read_for(a_while).empty());
    slow.commit();
  }
  SECTION("written in a savepoint") {
    slow.begin();
    slow.run("SELECT pg_current_xact_id()");
    slow.run("SAVEPOINT one");
    slow.add("slow");
    REQUIRE(reader.read_for(a_while).empty());
    slow.commit();
  }
  SECTION("while others commit, and then nobody does") {
    slow.begin();
    slow.add("slow");
    outbox.add("another");
    REQUIRE(reader.read_for(a_while).size() == 1);
    slow.commit();
  }
  CHECK(reader.next() == Ids{"slow"});
  CHECK(reader.next().empty());
}

TEST_CASE("an event of a prepared transaction is read first thing after its commit") {
  Outbox outbox{Engine::postgres};
  outbox.execute("ALTER SYSTEM SET max_prepared_transactions = 2");
  outbox.server().stop();
  outbox.server().start();
  Service service{outbox};
  Reader reader{outbox};
  REQUIRE(reader.next().empty());
  service.begin();
  service.add("prepared");
  service.run("PREPARE TRANSACTION 'one'");
  service.roll_back();  // there is none in the session any more
  REQUIRE(reader.read_for(a_while).empty());
  outbox.execute("COMMIT PREPARED 'one'");
  CHECK(reader.next() == Ids{"prepared"});
}

TEST_CASE("an event is not overtaken by that of a writer who waited for its row lock") {
  Outbox outbox{Engine::postgres};
  make_account(outbox);
  const bool another_is_open = GENERATE(false, true);
  CAPTURE(another_is_open);
  if (another_is_open) outbox.database().add_notify_trigger();
  Service first{outbox}, second{outbox}, another{outbox};
  Reader reader{outbox};
  REQUIRE(reader.next().empty());
  if (another_is_open) {
    another.begin();
    another.add("another", "its own");
  }
  first.begin();
  first.run(lock_account);
  first.add("first");
  auto waits = std::async(std::launch::async, [&second] {
    second.begin();
    second.run(lock_account);
    second.add("second");
  });
  wait_for_blocked_writer(outbox);
  REQUIRE(reader.read_for(a_while).empty());
  first.commit();
  waits.get();
  second.commit();
  CHECK(reader.next() == Ids{"first", "second"});
  CHECK(reader.next().empty());
}

TEST_CASE("an event is not overtaken by that of the row lock's next holder, who came later") {
  Outbox outbox{Engine::postgres};
  make_account(outbox);
  Service first{outbox}, second{outbox};
  Reader reader{outbox};
  REQUIRE(reader.next().empty());
  first.begin();
  first.run(lock_account);
  first.add("first");
  REQUIRE(reader.read_for(a_while).empty());
  first.commit();
  second.begin();
  second.run(lock_account);
  second.add("second");
  second.commit();
  CHECK(reader.next() == Ids{"first", "second"});
}

TEST_CASE("an event of an open transaction is read first thing also where transaction ids wrap around") {
  Outbox outbox{Engine::postgres};
  for (const auto* statement :
       {"ALTER SYSTEM SET autovacuum = off", "VACUUM FREEZE"})  // rows of before would be in the future
    outbox.execute(statement);
  outbox.server().stop();
  outbox.server().set_next_transaction(GENERATE(0x7ffffffeU, 0xfffffffeU));
  outbox.server().start();
  Service slow{outbox}, other{outbox}, third{outbox};
  Reader reader{outbox};
  REQUIRE(reader.next().empty());
  slow.begin();
  slow.add("slow");  // the last id before
  for (auto* service : {&other, &third}) {
    service->begin();
    service->add(service == &other ? "other" : "third", "its own");
  }
  REQUIRE(reader.read_for(a_while).empty());
  third.commit();
  CHECK(reader.next() == Ids{"third"});
  REQUIRE(reader.read_for(a_while).empty());
  slow.commit();
  CHECK(reader.next() == Ids{"slow"});
  other.commit();
  CHECK(reader.next() == Ids{"other"});
  CHECK(reader.next().empty());
}

TEST_CASE("reading takes no transaction ids") {
  Outbox outbox{Engine::postgres};
  outbox.execute("ALTER SYSTEM SET autovacuum = off");
  outbox.execute("SELECT pg_reload_conf()");
  const auto next_id = [&outbox] { return outbox.number("SELECT age('3'::xid)"); };
  outbox.add("a");
  const auto before = next_id();
  std::vector<OutboxEvent> events;
  outbox.repository().rewind();
  for (int i = 0; i < 20; ++i) outbox.repository().read_pending(10, events);
  CHECK(next_id() == before);
}
