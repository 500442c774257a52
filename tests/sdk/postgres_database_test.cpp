// The connection to PostgreSQL that an inbox and its handlers have.

#include "support/catch.hpp"
#include "support/postgres_server.hpp"

#include <tidings/postgres_database.hpp>

#include <string>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("the server notices within half a minute that the client's host is gone") {
  const PostgresServer server;
  PostgresDatabase database{server.url()};
  database.connect();
  CHECK(database.exec("SHOW tcp_keepalives_idle").text(0, 0) == "10");
  CHECK(database.exec("SHOW tcp_keepalives_interval").text(0, 0) == "5");
  CHECK(database.exec("SHOW tcp_keepalives_count").text(0, 0) == "3");
}
