// What an inbox in PostgreSQL costs, and what it does with its sessions.

#include "inbox/inbox.hpp"
#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/pgbouncer.hpp"
#include "support/postgres_server.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/postgres_inbox.hpp>

#include <memory>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;

namespace {

class Queries {
 public:
  explicit Queries(const PostgresServer& server) : database_(server.url()) { database_.connect(); }

  void exec(const std::string& statement) { database_.exec(statement); }
  [[nodiscard]] std::int64_t number(const std::string& statement) {
    return database_.exec(statement).integer(0, 0);
  }

 private:
  PostgresConnection database_;
};

/// Everything that a consumer asks of its inbox between two looks for what is old.
void use(Inbox& inbox, int round) {
  const auto id = [round](const char* name) { return name + std::to_string(round); };
  inbox.begin();
  inbox.claim_ahead({{id("taken")}, {id("left")}});
  inbox.savepoint();
  CHECK(inbox.claim({id("taken")}));
  inbox.release_savepoint();
  CHECK_FALSE(inbox.handled({id("other")}));
  inbox.commit();
  inbox.begin();
  CHECK_FALSE(inbox.attempts({id("failed")}).has_value());
  inbox.record_attempts({id("failed")}, {.starts = 1, .reason = "no"});
  inbox.forget_attempts({id("failed")});
  (void)inbox.prune(hours{1}, 5);
  inbox.commit();
}

}  // namespace

TEST_CASE("what a consumer asks of its inbox reads no more rows when the inbox has grown") {
  constexpr int many = 20000;
  const PostgresServer server{{"autovacuum=off"}};  // it would have the plans made again
  Queries queries{server};
  auto inbox = std::make_unique<PostgresInbox>(server.url());
  inbox->tables().join("mailer");
  use(inbox->tables(), 0);
  queries.exec("VACUUM ANALYZE inbox");  // of one page: cheaper to read than an index
  queries.exec("VACUUM ANALYZE inbox_attempt");
  for (int round = 1; round < 20; ++round) use(inbox->tables(), round);

  const auto rows = "SELECT 1, decode(md5(n::text), 'hex') FROM generate_series(1, " + std::to_string(many) +
                    ") AS numbers(n)";
  queries.exec("INSERT INTO inbox(group_id, event_id) " + rows);
  queries.exec("INSERT INTO inbox_attempt(group_id, event_id, starts, last_error) SELECT *, 1, 'no' FROM (" +
               rows + ") AS failed");
  for (int round = 20; round < 30; ++round) use(inbox->tables(), round);

  inbox.reset();  // a session counts what it has read when it ends
  REQUIRE_WITHIN(10s, queries.number("SELECT count(*) FROM pg_stat_activity "
                                     "WHERE backend_type = 'client backend'") == 1);
  const auto read = queries.number(
      "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname LIKE 'inbox%'");
  CHECK(read > 0);
  CHECK(read < many);
}

TEST_CASE("the inbox's sessions wait 5 s for a lock, and stand still in a transaction for a minute at most") {
  const PostgresServer server;
  const PgBouncer pooler{server, {.sessions = 1}};
  Queries queries{server};
  const auto setting = [](PostgresInbox& inbox, const std::string& name) {
    return std::string{inbox.database().exec("SHOW " + name).text(0, 0)};
  };
  const auto in_transaction = [&setting](PostgresInbox& inbox, const std::string& name) {
    inbox.tables().begin();
    auto value = setting(inbox, name);
    inbox.tables().commit();
    return value;
  };
  SECTION("by default") {
    for (const auto& url : {server.url(), pooler.url()}) {
      PostgresInbox inbox{url};
      CHECK(in_transaction(inbox, "lock_timeout") == "5s");
      CHECK(in_transaction(inbox, "idle_in_transaction_session_timeout") == "1min");
      if (!inbox.database().pooled()) continue;
      CHECK(setting(inbox, "lock_timeout") == "0");  // the session is others', too
      CHECK(setting(inbox, "idle_in_transaction_session_timeout") == "0");
    }
  }
  SECTION("where the login says another time") {
    queries.exec("ALTER ROLE tidings SET idle_in_transaction_session_timeout = '7min'");
    for (const auto& url : {server.url(), pooler.url()}) {
      PostgresInbox inbox{url};
      CHECK(in_transaction(inbox, "idle_in_transaction_session_timeout") == "7min");
    }
  }
  SECTION("where the URL says another time") {
    for (const auto* options :
         {"-c idle_in_transaction_session_timeout=2000", "-c%20idle_in_transaction_session_timeout%3D2000"}) {
      PostgresInbox inbox{server.url() + "?connect_timeout=3&options=" + options};
      CHECK(in_transaction(inbox, "idle_in_transaction_session_timeout") == "2s");
    }
  }
}

TEST_CASE("what is committed is on the disk, whatever the login or the URL says") {
  const PostgresServer server;
  const PgBouncer pooler{server, {.sessions = 1}};
  Queries queries{server};
  struct Case {
    std::string says, is;
  };
  const auto setting = GENERATE(values<Case>({{"off", "on"}, {"local", "local"}, {"on", "on"}}));
  CAPTURE(setting.says);
  queries.exec("ALTER ROLE tidings SET synchronous_commit = " + setting.says);
  for (const auto& url :
       {server.url(), pooler.url(), server.url() + "?options=-c synchronous_commit=" + setting.says}) {
    CAPTURE(url);
    PostgresInbox inbox{url};
    inbox.tables().begin();
    CHECK(inbox.database().exec("SHOW synchronous_commit").text(0, 0) == setting.is);
    inbox.tables().commit();
  }
}

TEST_CASE("a commit without the transaction that was begun is an error") {
  const PostgresServer server;
  Queries queries{server};
  PostgresInbox inbox{server.url()};
  auto& tables = inbox.tables();
  tables.join("mailer");
  queries.exec("CREATE TABLE effect(id integer)");
  tables.begin();
  CHECK(tables.claim({"one"}));
  inbox.database().exec("INSERT INTO effect VALUES (1)");
  inbox.database().rollback();
  inbox.database().exec("INSERT INTO effect VALUES (2)");
  CHECK_THROWS_AS(tables.require_sound(), PostgresError);
  CHECK_THROWS_AS(tables.commit(), PostgresError);
  tables.rollback();
  tables.begin();
  CHECK(tables.claim({"one"}));
  tables.commit();
}

TEST_CASE("a login that may make no tables uses those that are there, and is told when they are not") {
  const PostgresServer server;
  PostgresConnection owner{server.url()};
  owner.connect();
  owner.exec("CREATE ROLE poor LOGIN");
  auto url = server.url();
  url.replace(url.find("tidings@"), 7, "poor");
  CHECK_THAT(error_of<DatabaseError>([&] { PostgresInbox{url}; }), ContainsSubstring("permission denied"));
  { PostgresInbox makes_tables{server.url()}; }
  owner.script(
      "GRANT SELECT, INSERT, UPDATE, DELETE ON inbox, inbox_attempt, inbox_group TO poor; "
      "GRANT USAGE ON SEQUENCE inbox_group_id_seq TO poor");
  PostgresInbox inbox{url};
  auto& tables = inbox.tables();
  tables.join("mailer");
  tables.begin();
  CHECK(tables.claim({"one"}));
  tables.commit();
  CHECK(tables.handled({"one"}));
  // Tables that were made and granted for an older version do.
  CHECK_FALSE(tables.keeps_positions());
  tables.keep_position("AUTH_EVENTS", {"2026", 7});
  CHECK_FALSE(tables.position("AUTH_EVENTS"));
  owner.script("GRANT SELECT, INSERT, UPDATE ON inbox_position TO poor");
  CHECK(PostgresInbox{url}.tables().keeps_positions());
}

TEST_CASE("in a partitioned inbox, what a group gives back is not taken from another one") {
  const PostgresServer server;
  Queries{server}.exec(
      "CREATE TABLE inbox(group_id integer NOT NULL, event_id bytea NOT NULL, handled_at timestamptz NOT NULL "
      "DEFAULT now(), PRIMARY KEY (group_id, event_id)) PARTITION BY LIST (group_id)");
  for (const auto* partition :
       {"inbox_1 PARTITION OF inbox FOR VALUES IN (1)", "inbox_2 PARTITION OF inbox DEFAULT"})
    Queries{server}.exec(std::string{"CREATE TABLE "} + partition);
  PostgresInbox one{server.url()}, other{server.url()};
  one.tables().join("one");
  other.tables().join("other");
  one.tables().begin();
  CHECK(one.tables().claim({"handled"}));
  one.tables().commit();
  other.tables().begin();
  other.tables().claim_ahead({{"not handled"}});
  other.tables().commit();
  CHECK(one.tables().handled({"handled"}));
  CHECK_FALSE(other.tables().handled({"not handled"}));
}

TEST_CASE("an inbox says at its start what a crash of the server would cost") {
  const auto told_by = [](const PostgresServer& server) {
    const Log log;
    const PostgresInbox inbox{server.url(), {.table_prefix = "billing_"}};
    return log.text();
  };
  const PostgresServer server;
  CHECK(told_by(server).empty());
  Queries{server}.exec("ALTER TABLE billing_inbox SET UNLOGGED");
  CHECK_THAT(told_by(server), ContainsSubstring("billing_inbox is UNLOGGED: PostgreSQL empties it") &&
                                  ContainsSubstring("ALTER TABLE billing_inbox SET LOGGED"));
  const PostgresServer careless{{"fsync=off", "full_page_writes=off"}};
  CHECK_THAT(told_by(careless),
             ContainsSubstring("fsync is off: a crash of the machine may damage or lose") &&
                 ContainsSubstring("full_page_writes = on in postgresql.conf"));
}
