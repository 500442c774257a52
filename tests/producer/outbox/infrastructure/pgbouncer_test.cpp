// The outbox in PostgreSQL behind PgBouncer in transaction mode: sessions are shared, so nothing may rest on
// one.

#include "support/pgbouncer.hpp"

#include "infrastructure/commit_watch.hpp"
#include "infrastructure/lease.hpp"
#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/relays.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_repository.hpp>

#include <signal.h>

#include <ctime>
#include <future>
#include <set>

using namespace tidings;
using namespace tidings::test;

namespace {

using Phase = ProcessorStatus::Phase;

/// Adds one event as a service does.
void add(Database& database, const std::string& aggregate) {
  const auto events = database.outbox();
  database.transact([&](Transaction& transaction) {
    DomainEvent event;
    event.aggregate_id = aggregate;
    event.aggregate_type = "User";
    event.event_type = "user.created";
    events->add(transaction, event);
  });
}

/// What this thread has computed so far.
std::chrono::nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

}  // namespace

TEST_CASE("the tables are made and found through PgBouncer, also by several at once") {
  PostgresServer server;
  const PgBouncer pooler{server};
  std::vector<std::future<void>> services;
  for (int i = 0; i < 4; ++i)
    services.push_back(std::async(std::launch::async, [&pooler] {
      const auto database = Database::open(pooler.url(), Database::Open::create);
      database->migrate();
      database->require_schema();
    }));
  for (auto& service : services) CHECK_NOTHROW(service.get());
  const auto database = Database::open(pooler.url());
  database->add_notify_trigger();
  add(*database, "a");
  CHECK(database->outbox()->count_pending() == 1);
}

TEST_CASE("writers and processors that share two sessions lose nothing and keep the order") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};
  const PgBouncer pooler{outbox.server(), {.sessions = 2}};
  Processor first{pooler.url(), server.url(), quick_polling()};
  REQUIRE_WITHIN(20s, first.active());
  Processor second{pooler.url(), server.url(), quick_polling()};
  Writers writers{pooler.url(), {.writers = 8, .aggregates = 10, .commits = 100}};
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") > 200);
  std::set<std::string> sessions;
  const auto another = Database::open(pooler.url());
  for (int i = 0; i < 50; ++i) sessions.insert(another->exec("SELECT pg_backend_pid()").text(0, 0));
  CHECK(sessions.size() == 2);  // of more than a dozen clients
  CHECK(second.phase() == Phase::standby);
  first.stop();
  CHECK(first.error() == "");
  REQUIRE_WITHIN(20s, second.active());
  writers.finish();
  CHECK(writers.refused() == 0);
  REQUIRE_WITHIN(20s, outbox.count("status <> 'PUBLISHED'") == 0);
  CHECK(outbox.number("SELECT epoch FROM outbox_lease") == 2);
  second.stop();
  CHECK(second.error() == "");
  CHECK(outbox.count("true") == writers.committed());
  CHECK(audit(outbox, jetstream.messages("AUTH_EVENTS")) == "");
}

TEST_CASE("a PgBouncer or a PostgreSQL behind it that crashes costs no attempt, no event and no order") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};
  PgBouncer pooler{outbox.server(), {.sessions = 3, .settings = "query_wait_timeout = 2\n"}};
  Processor processor{pooler.url(), server.url(), quick_polling()};
  REQUIRE_WITHIN(20s, processor.active());
  Writers writers{pooler.url(), {.writers = 3, .aggregates = 10}};
  const auto goes_on = [&] {
    const auto published = outbox.count_status("PUBLISHED");
    return eventually(30s, [&] { return outbox.count_status("PUBLISHED") > published + 100; });
  };
  REQUIRE(goes_on());
  pooler.kill();
  REQUIRE_WITHIN(20s, processor.phase() == Phase::waiting_for_database);
  pooler.start();
  REQUIRE(goes_on());
  outbox.server().kill();
  REQUIRE_WITHIN(20s, processor.phase() == Phase::waiting_for_database);
  outbox.server().start();
  REQUIRE(goes_on());
  writers.stop();
  REQUIRE_WITHIN(20s, outbox.count("status <> 'PUBLISHED'") == 0);
  processor.stop();
  CHECK(processor.error() == "");
  CHECK(audit(outbox, jetstream.messages("AUTH_EVENTS")) == "");
}

TEST_CASE("events of a server behind PgBouncer that gives transaction ids out once more are read") {
  // PgBouncer's clients stay connected. What they know of ids would hide the transactions that get them
  // again.
  Outbox outbox{Engine::postgres}, standby{Engine::postgres};
  outbox.execute("ALTER SYSTEM SET wal_writer_delay = '10s'");
  outbox.execute("SELECT pg_reload_conf()");
  const PgBouncer pooler{outbox.server(), {.sessions = 1}};
  const auto database = Database::open(pooler.url());
  auto events = database->outbox();
  const auto next = [&events] {
    std::vector<OutboxEvent> read;
    events->read_pending(10, read);
    return read.size();
  };
  for (int i = 0; i < 100; ++i) outbox.execute("SELECT pg_current_xact_id(); ROLLBACK");
  REQUIRE(next() == 0);
  REQUIRE(next() == 0);
  SECTION("after another server has taken its place") {
    const int port = outbox.server().port();
    outbox.server().stop();
    standby.add("a");
    standby.server().stop();
    standby.server().start_at(port);
  }
  SECTION("after the crash of a process, with which it has lost what it had not written") {
    PostgresConnection victim{outbox.url()};
    victim.connect();
    REQUIRE(::kill(static_cast<pid_t>(victim.exec("SELECT pg_backend_pid()").integer(0, 0)), SIGKILL) == 0);
    REQUIRE_WITHIN(20s, [&] {
      try {
        return !outbox.add("a").empty();
      } catch (const DatabaseError&) {  // it may have been committed all the same
        return false;
      }
    }());
  }
  REQUIRE_WITHIN(20s, [&] {
    try {
      return next() > 0;
    } catch (const DatabaseError& error) {  // the relay begins anew then
      if (!error.retryable()) throw;
      events = database->outbox();
      return false;
    }
  }());
}

TEST_CASE("who watches for commits through PgBouncer says once that it polls, and does only that") {
  Outbox outbox{Engine::postgres};
  PgBouncer pooler{outbox.server()};
  const Log log;
  const auto watch = CommitWatch::open(pooler.url());
  const auto waits = [&watch] {
    const auto begun = std::chrono::steady_clock::now();
    return !watch->wait(300ms) && std::chrono::steady_clock::now() - begun >= 300ms;
  };
  CHECK(waits());
  outbox.add("a");
  CHECK(waits());
  pooler.kill();  // it must not wait for a connection that has ended, which always has something to read
  const auto before = processor_time();
  CHECK(waits());
  CHECK(processor_time() - before < 100ms);
  pooler.start();
  CHECK(waits());
  CHECK(occurrences(log.text(), "commits are seen by polling only") == 1);
  CHECK(occurrences(log.text(), "through a pooler") == 1);
}

TEST_CASE("a service behind PgBouncer wakes a relay that is connected directly") {
  Outbox outbox{Engine::postgres};
  const PgBouncer pooler{outbox.server()};
  const auto watch = CommitWatch::open(outbox.url());
  const auto database = Database::open(pooler.url());
  CHECK(watch->wait(5s));
  CHECK_FALSE(watch->wait(100ms));
  const auto begun = std::chrono::steady_clock::now();
  add(*database, "a");
  CHECK(watch->wait(20s));
  CHECK(std::chrono::steady_clock::now() - begun < 15s);
}

TEST_CASE("settings of a transaction behind PgBouncer do not stay with the session that others get") {
  Outbox outbox{Engine::postgres};
  const PgBouncer pooler{outbox.server(), {.sessions = 1}};
  const auto database = Database::open(pooler.url(), Database::Open::processor);
  add(*database, "a");
  database->transact([](Transaction& transaction) {
    CHECK(transaction.database().exec("SHOW lock_timeout").text(0, 0) == "5s");
    CHECK(transaction.database().exec("SHOW idle_in_transaction_session_timeout").text(0, 0) == "5s");
  });
  for (const auto* setting : {"lock_timeout", "idle_in_transaction_session_timeout"})
    CHECK(database->exec(std::string("SHOW ") + setting).text(0, 0) == "0");
  CHECK(database->exec("SELECT count(*) FROM pg_prepared_statements").integer(0, 0) == 0);
}

TEST_CASE("what PgBouncer cannot give is told at once, with what to do") {
  Outbox outbox{Engine::postgres};
  const auto refusal = [](const std::string& url) {
    try {
      const auto database = Database::open(url);
      database->require_schema();
      add(*database, "a");
    } catch (const DatabaseError& error) {
      return std::string(error.retryable() ? "retryable: " : "final: ") + error.what();
    }
    return std::string{"none"};
  };
  SECTION("a schema in the URL") {
    const PgBouncer pooler{outbox.server()};
    const auto told = refusal(pooler.url() + "?schema=shop");
    CHECK_THAT(told, ContainsSubstring("final: "));
    CHECK_THAT(told, ContainsSubstring("ALTER ROLE"));
  }
  SECTION("a schema in the URL, where the pooler drops it in silence") {
    const PgBouncer pooler{outbox.server(), {.settings = "ignore_startup_parameters = options\n"}};
    const auto told = refusal(pooler.url() + "?schema=shop");
    CHECK_THAT(told, ContainsSubstring("final: "));
    CHECK_THAT(told, ContainsSubstring("ALTER ROLE"));
  }
  SECTION("transactions in statement mode") {
    const PgBouncer pooler{outbox.server(), {.mode = "statement"}};
    CHECK_THAT(refusal(pooler.url()), ContainsSubstring("must be in transaction mode"));
  }
}
