// The reference consumer with its inbox in PostgreSQL.

#include "support/catch.hpp"
#include "support/postgres_server.hpp"
#include "support/programs.hpp"
#include "support/wait.hpp"

#include <tidings/postgres_connection.hpp>

#include <csignal>
#include <string>
#include <vector>

using namespace tidings::test;

namespace {

Process start(const Programs& programs, const std::string& database,
              const std::vector<std::string>& arguments = {}) {
  return Process{executable("consumer-example"),
                 arguments,
                 {.environment = {{"NATS_URL", programs.server.url()},
                                  {"CONSUMER_GROUP", "welcome-mailer"},
                                  {"CONSUMER_DATABASE_URL", database},
                                  {"CONSUMER_ACK_WAIT_MS", "1000"}},
                  .input = {},
                  .log_folder = {}}};
}

/// -1 while the table is not there.
std::int64_t number(const PostgresServer& postgres, const std::string& query) {
  try {
    tidings::PostgresConnection database{postgres.url()};
    database.connect();
    return database.exec(query).integer(0, 0);
  } catch (const tidings::PostgresError&) {
    return -1;
  }
}

}  // namespace

TEST_CASE("consumers of one group that share PostgreSQL write one e-mail each, whichever is killed") {
  constexpr const char* emails = "SELECT count(*) FROM welcome_email";
  Programs programs;
  const PostgresServer postgres;
  auto one = start(programs, postgres.url(), {"--instance", "one"});
  auto two = start(programs, postgres.url(), {"--instance", "two"});
  auto relay = programs.start_relay();
  REQUIRE(programs.auth_service({"register", "--from", "-"}, user_lines(400)).exit == exited(0));
  REQUIRE_WITHIN(30s, number(postgres, emails) > 50);
  one.kill(SIGKILL);
  REQUIRE_WITHIN(30s, number(postgres, emails) == 400);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 400);
  CHECK(number(postgres, "SELECT count(*) FROM welcome_email WHERE name LIKE 'Zoë %'") == 400);
  CHECK(programs.jetstream.message_count("AUTH_DLQ") == 0);
  two.kill(SIGTERM);
  CHECK(two.wait() == exited(0));
  CHECK(two.out().find("handled ") != std::string::npos);
}

TEST_CASE("a PostgreSQL that is not there ends the consumer with its name and without the password") {
  Programs programs;
  const ReservedPort nobody;
  auto consumer =
      start(programs, "postgresql://mailer:s3cret@127.0.0.1:" + std::to_string(nobody.number()) + "/w");
  CHECK(consumer.wait() == exited(1));
  CHECK(consumer.err().find(std::to_string(nobody.number())) != std::string::npos);
  CHECK(consumer.err().find("s3cret") == std::string::npos);
}

TEST_CASE("a consumer's database of another kind is a wrong setting") {
  Programs programs;
  auto consumer = start(programs, "mysql://host/w");
  CHECK(consumer.wait() == exited(2));
  CHECK(consumer.err().find("CONSUMER_DATABASE_URL=mysql://host/w") != std::string::npos);
}
