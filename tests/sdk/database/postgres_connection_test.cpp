// The connection to PostgreSQL that an inbox and its handlers have.

#include "database/postgres_url.hpp"
#include "database/transaction_end.hpp"
#include "inbox/inbox.hpp"
#include "redacted_url.hpp"
#include "support/catch.hpp"
#include "support/pgbouncer.hpp"
#include "support/postgres_server.hpp"

#include <tidings/error.hpp>
#include <tidings/postgres_connection.hpp>
#include <tidings/postgres_inbox.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

void execute(const PostgresServer& server, const std::string& statement) {
  PostgresConnection database{server.url()};
  database.connect();
  database.script(statement);
}

std::string text(PostgresConnection& database, const std::string& query) {
  return std::string{database.exec(query).text(0, 0)};
}

/// What follows the `?` of a URL, as libpq is given it.
std::string parameters(const std::string& of_the_url) {
  const auto url = PostgresUrl::parse("postgresql://host/db?" + of_the_url).for_libpq;
  return url.substr(url.find('?') + 1);
}

}  // namespace

TEST_CASE("the server notices within half a minute that the client's host is gone") {
  const PostgresServer server;
  PostgresConnection database{server.url()};
  database.connect();
  CHECK(database.exec("SHOW tcp_keepalives_idle").text(0, 0) == "10");
  CHECK(database.exec("SHOW tcp_keepalives_interval").text(0, 0) == "5");
  CHECK(database.exec("SHOW tcp_keepalives_count").text(0, 0) == "3");
}

TEST_CASE("what is read as a whole number and is none is an error with what it is") {
  const PostgresServer server;
  PostgresConnection database{server.url()};
  database.connect();
  CHECK(database.exec("SELECT -9223372036854775808").integer(0, 0) ==
        std::numeric_limits<std::int64_t>::min());
  const auto* const value = GENERATE("'abc'", "''", "NULL", "12.5", "'12 '", "9223372036854775808");
  CAPTURE(value);
  const auto rows = database.exec(std::string{"SELECT 1, "} + value);
  CHECK(rows.integer(0, 0) == 1);
  CHECK_THAT(error_of<DatabaseError>([&] { (void)rows.integer(0, 1); }),
             ContainsSubstring("\"" + std::string{rows.text(0, 1)} + "\" in column 1 is not a whole number"));
}

TEST_CASE(
    "what ends a transaction is told from what goes back to a savepoint "
    "or only looks like it") {
  for (const auto* statement :
       {"COMMIT", "commit;", " \n\tEnd", "-- all of it\nROLLBACK", "/* a /* b */ c */ abort", ";;COMMIT WORK",
        "ROLLBACK TRANSACTION", "rollback/**/and chain", "PREPARE TRANSACTION 'x'", "COMMIT--",
        "ROLLBACK TOO"}) {
    INFO(statement);
    CHECK(ends_transaction(statement));
  }
  for (const auto* statement :
       {"", ";", "/*", "/* COMMIT", "--COMMIT", "ROLLBACK TO x", "rollback work to savepoint x",
        "Rollback Transaction To x", "RELEASE x", "SAVEPOINT commit", "PREPARE x AS SELECT 1", "commits",
        "INSERT INTO ends VALUES ('COMMIT')", "SELECT 1; -- COMMIT", "end_of_day", "commit1"}) {
    INFO(statement);
    CHECK_FALSE(ends_transaction(statement));
  }
}

TEST_CASE("a prepared statement that is no longer valid is a transient error") {
  const PostgresServer server;
  PostgresConnection database{server.url()};
  database.connect();
  database.exec("CREATE TABLE account AS SELECT 1 AS id");
  CHECK(database.exec("SELECT * FROM account").columns() == 1);
  SECTION("because its table has changed") {
    execute(server, "ALTER TABLE account ADD name text");
    try {
      database.exec("SELECT * FROM account");
      FAIL("PostgreSQL has mended its plans");
    } catch (const PostgresError& error) {
      CHECK(error.sqlstate() == "0A000");
      CHECK(error.retryable());
    }
    CHECK(database.exec("SELECT * FROM account").columns() == 2);
  }
  SECTION("because it is gone") {
    database.exec("DEALLOCATE ALL");
    try {
      database.exec("SELECT * FROM account");
      FAIL("it was not prepared");
    } catch (const PostgresError& error) {
      CHECK(error.sqlstate() == "26000");
      CHECK(error.retryable());
    }
    CHECK(database.exec("SELECT * FROM account").columns() == 1);
  }
  SECTION("but not an error of its own that only looks so") {
    for (int i = 0; i < 3; ++i) {
      database.rollback();
      database.connect();
      database.exec("BEGIN");
      try {
        database.exec("EXECUTE nothing");
      } catch (const PostgresError& error) {
        CHECK(error.sqlstate() == "26000");
        if (i != 1)
          CHECK_FALSE(error.retryable());  // at every second time, so that nobody
                                           // tries for ever
      }
    }
  }
}

TEST_CASE(
    "a session keeps the plans of so many statements, however many "
    "different ones are run") {
  const PostgresServer server;
  PostgresConnection database{server.url()};
  database.connect();
  for (int i = 0; i < 1000; ++i) {
    database.queue("SELECT 'queued', " + std::to_string(i));
    CHECK(database.exec("SELECT " + std::to_string(i)).integer(0, 0) == i);
  }
  const auto prepared = database.exec("SELECT count(*) FROM pg_prepared_statements").integer(0, 0);
  CHECK(prepared > 0);
  CHECK(prepared <= 200);
}

TEST_CASE("a database's name has neither the login nor any parameter") {
  const auto name = [](const std::string& url) { return PostgresConnection{url}.name(); };
  CHECK(name("postgresql://ann:hunter2@host:5433/db") == "postgresql://host:5433/db");
  CHECK(name("postgresql://host/db?user=ann&password=hunter2") == "postgresql://host/db");
  CHECK(name("postgres://ann:hunter2@one:1,two:2/db?schema=x&password=hun@ter2") == "postgres://…");
  CHECK(name("postgresql://host/db") == "postgresql://host/db");
  CHECK(name("postgresql://ann:hun?ter2@host/db?connection_limit=1") == "postgresql://…");  // libpq takes it
}

TEST_CASE(
    "a URL is shown without what may be a password, also one that is "
    "written wrongly") {
  CHECK(redacted_url("nats://ann:hunter2@host:4222") == "nats://host:4222");
  CHECK(redacted_url("ann:hunter2@host:4222") == "host:4222");
  CHECK(redacted_url("host:4222") == "host:4222");
  CHECK(redacted_url("mysql://host/db?password=hunter2") == "mysql://host/db");
  CHECK(redacted_url("mysql://ann:hun@ter2@host/db") == "mysql://host/db");
  CHECK(redacted_url("mysql://ann:hun/ter2@host/db") == "mysql://host/db");
  CHECK(redacted_url("mysql://ann:hun?ter2@host/db") == "mysql://…");
  CHECK(redacted_url("mysql://ann:hunt@e?r2@host/db") == "mysql://…");
  CHECK(redacted_url("") == "");
}

TEST_CASE(
    "a PostgreSQL URL that cannot be read is an error with what to do "
    "and without the URL's parts") {
  const auto* const url =
      GENERATE("postgresql://ann:hun%ter2@host/db", "postgresql://ann:hun/ter2@host/db",
               "postgresql://ann:12/ter2@host/db", "postgresql://ann:hun@te?r2@host/db",
               "postgresql://ann:hun@te?r2=1@host/db", "postgresql://ann:hun@ter2@host/db",
               "postgresql://ann@host/db?password=hun&ter2", "postgresql://ann@host/db?password=hun%ter2",
               "postgresql://ann@host/db?hunter2=1", "postgresql://ann@host/db?schema=hun%ter2",
               "postgresql://ann:x@[hunter2/db", "host=host password=hunter2", "mysql://ann:hunter2@host/db");
  INFO(url);
  const auto error = error_of<SettingError>([&] { PostgresConnection{url}.connect(); });
  CHECK_THAT(error, ContainsSubstring("percent-encode") && ContainsSubstring("password"));
  for (const auto* part : {"hun", "ter2", "r2"}) CHECK_THAT(error, !ContainsSubstring(part));
}

TEST_CASE("a refused login does not tell the password of the URL's parameters") {
  const PostgresServer server;
  PostgresConnection database{server.url().substr(0, server.url().rfind('/')) + "/nowhere?password=hunter2"};
  const auto error = error_of<PostgresError>([&] { database.connect(); });
  CHECK_THAT(error, ContainsSubstring("\"nowhere\" does not exist") && !ContainsSubstring("hunter2"));
}

TEST_CASE("dates and bytes come in the same form whatever the login has set") {
  const PostgresServer server;
  const PgBouncer pooler{server, {.sessions = 2}};
  execute(server,
          "ALTER ROLE tidings SET datestyle = 'German'; ALTER ROLE "
          "tidings SET bytea_output = 'escape'");
  for (const auto& url : {server.url(), pooler.url()}) {
    INFO(url);
    PostgresConnection one{url}, other{url};
    one.connect();
    other.connect();
    one.exec("BEGIN");  // holds a session of the pooler's: the other has the
                        // other one
    CHECK(text(one, "SELECT date '2026-11-24'") == "2026-11-24");
    CHECK(text(other, "SELECT date '2026-11-24'") == "2026-11-24");
    if (!one.pooled()) CHECK(text(one, "SELECT '\\x0041ff'::bytea") == "\\x0041ff");
    one.exec("COMMIT");
    other.exec("BEGIN");
    CHECK(text(one, "SELECT date '2026-11-24'") == "2026-11-24");
    CHECK(text(other, "SELECT date '2026-11-24'") == "2026-11-24");
    other.exec("COMMIT");

    PostgresInbox postgres_inbox{url};
    auto& inbox = postgres_inbox.tables();
    inbox.join("mailer");
    inbox.begin();
    inbox.claim_ahead({{"a"}, {"b"}});
    CHECK(inbox.claim({"a"}));
    inbox.commit();
    CHECK(inbox.handled({"a"}));
    CHECK_FALSE(inbox.handled({"b"}));
    for (int i = 0; i < 5; ++i) {
      inbox.begin();
      CHECK(inbox.claim({"more" + std::to_string(i)}));
      inbox.commit();
    }
    int steps = 1;
    inbox.begin();
    for (; !inbox.prune(std::chrono::hours{1}, 2); ++steps) REQUIRE(steps < 10);
    inbox.commit();
    CHECK(steps == 4);
    inbox.begin();
    postgres_inbox.database().exec("DELETE FROM inbox");
    inbox.commit();
  }
}

TEST_CASE("Prisma's schema is found as it is written") {
  const PostgresServer server;
  execute(server, R"(CREATE SCHEMA "Auth"; CREATE SCHEMA "a ""b"" c\d"; CREATE SCHEMA shop)");
  const auto schema = [&server](const std::string& parameters) {
    PostgresConnection database{server.url() + "?" + parameters};
    database.connect();
    return text(database, "SELECT current_schema()");
  };
  CHECK(schema("schema=Auth") == "Auth");
  CHECK(schema("schema=shop") == "shop");
  CHECK(schema("schema=a%20%22b%22%20c%5Cd") == R"(a "b" c\d)");
  CHECK(schema("schema=") == "public");
  CHECK(schema("connection_limit=1&schema=Auth&pgbouncer=true") == "Auth");
  CHECK(schema("max_connection_lifetime=30&max_idle_connection_lifetime=60&single_use_connections=true&"
               "uselibpqcompat=true&schema=shop&connect_timeout=10&pool_timeout=5&socket_timeout=5") ==
        "shop");
  PostgresConnection both{server.url() + "?schema=Auth&options=-c lock_timeout=7s&options=-cwork_mem%3D1MB"};
  both.connect();
  CHECK(text(both, "SELECT current_schema()") == "Auth");
  CHECK(text(both, "SHOW lock_timeout") == "7s");
  CHECK(text(both, "SHOW work_mem") == "1MB");
}

TEST_CASE(
    "a pooler that drops the schema in silence is noticed, unless the "
    "login has the same") {
  const PostgresServer server;
  const PgBouncer pooler{server, {.settings = "ignore_startup_parameters = options\n"}};
  execute(server, "CREATE SCHEMA \"Auth\"; CREATE SCHEMA auth");
  const auto connect = [&pooler](const std::string& schema) {
    PostgresConnection database{pooler.url() + "?schema=" + schema};
    database.connect();
  };
  for (const auto* schema : {"Auth", "auth"})
    CHECK_THAT(error_of<PostgresError>([&] { connect(schema); }), ContainsSubstring("ALTER ROLE"));
  execute(server, "ALTER ROLE tidings SET search_path = \"Auth\"");
  execute(server,
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
          "WHERE backend_type = 'client backend' AND "
          "pid <> pg_backend_pid()");
  CHECK_NOTHROW(connect("Auth"));
  CHECK_THROWS_AS(connect("auth"), PostgresError);
  execute(server, "ALTER ROLE tidings SET search_path = auth");
  execute(server,
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
          "WHERE backend_type = 'client backend' AND "
          "pid <> pg_backend_pid()");
  CHECK_NOTHROW(connect("auth"));
  CHECK_THROWS_AS(connect("Auth"), PostgresError);
}

TEST_CASE("Prisma's wish to check the server's certificate is libpq's sslmode") {
  CHECK(parameters("sslaccept=strict") == "sslmode=verify-full");
  CHECK(parameters("sslmode=require&sslaccept=strict&connect_timeout=3") ==
        "connect_timeout=3&sslmode=verify-full");
  CHECK(parameters("sslaccept=strict&sslmode=verify-ca") == "sslmode=verify-ca");
  CHECK(parameters("sslmode=verify-full&sslaccept=strict") == "sslmode=verify-full");
  CHECK(parameters("sslmode=require&sslaccept=accept_invalid_certs") == "sslmode=require");
  CHECK(parameters("sslcert=ca.pem") == "sslrootcert=ca.pem");
  CHECK(parameters("sslcert=me.pem&sslkey=me.key") == "sslkey=me.key&sslcert=me.pem");
  CHECK(parameters("sslcert=me.pem&sslrootcert=ca.pem") == "sslrootcert=ca.pem&sslcert=me.pem");
  const PostgresServer without_certificate;
  PostgresConnection database{without_certificate.url() + "?sslaccept=strict"};
  CHECK_THROWS_AS(database.connect(), PostgresError);
}
