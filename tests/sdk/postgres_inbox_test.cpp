// What an inbox in PostgreSQL costs, and how long it waits.

#include "support/postgres_server.hpp"
#include "support/wait.hpp"

#include <tidings/postgres_inbox.hpp>

#include <memory>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;
using std::chrono::steady_clock;

namespace {

class Queries {
 public:
  explicit Queries(const PostgresServer& server) : database_(server.url()) { database_.connect(); }

  void exec(const std::string& statement) { database_.exec(statement); }
  [[nodiscard]] std::int64_t number(const std::string& statement) {
    return database_.exec(statement).integer(0, 0);
  }

 private:
  PostgresDatabase database_;
};

/// Everything that a consumer asks of its inbox between two looks for what is old.
void use(PostgresInbox& inbox, int round) {
  const auto id = [round](const char* name) { return name + std::to_string(round); };
  inbox.begin();
  inbox.claim_ahead({id("taken"), id("left")});
  inbox.savepoint();
  CHECK(inbox.claim(id("taken")));
  inbox.release_savepoint();
  CHECK_FALSE(inbox.handled(id("other")));
  inbox.commit();
  inbox.begin();
  CHECK(inbox.attempts(id("failed")).starts == 0);
  inbox.record_attempts(id("failed"), {.starts = 1, .last_error = "no"});
  inbox.forget_attempts(id("failed"));
  (void)inbox.prune(hours{1}, 5);
  inbox.commit();
}

}  // namespace

TEST_CASE("what a consumer asks of its inbox reads no more rows when the inbox has grown") {
  constexpr int many = 20000;
  const PostgresServer server{{"autovacuum=off"}};  // it would have the plans made again
  Queries queries{server};
  auto inbox = std::make_unique<PostgresInbox>(server.url());
  inbox->join("mailer");
  use(*inbox, 0);
  queries.exec("VACUUM ANALYZE inbox");  // of one page: cheaper to read than an index
  queries.exec("VACUUM ANALYZE inbox_attempt");
  for (int round = 1; round < 20; ++round) use(*inbox, round);

  const auto rows = "SELECT 1, decode(md5(n::text), 'hex') FROM generate_series(1, " + std::to_string(many) +
                    ") AS numbers(n)";
  queries.exec("INSERT INTO inbox(group_id, event_id) " + rows);
  queries.exec("INSERT INTO inbox_attempt(group_id, event_id, starts, last_error) SELECT *, 1, 'no' FROM (" +
               rows + ") AS failed");
  for (int round = 20; round < 30; ++round) use(*inbox, round);

  inbox.reset();  // a session counts what it has read when it ends
  REQUIRE_WITHIN(10s, queries.number("SELECT count(*) FROM pg_stat_activity "
                                     "WHERE backend_type = 'client backend'") == 1);
  const auto read = queries.number(
      "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_user_tables WHERE relname LIKE 'inbox%'");
  CHECK(read > 0);
  CHECK(read < many);
}

TEST_CASE("an event that another has in hand is waited for a second, and handlers wait as their login says") {
  const PostgresServer server;
  const auto url = server.url() + "?options=-clock_timeout%3D7s";
  PostgresInbox one{url}, other{url};
  one.join("mailer");
  other.join("mailer");
  one.begin();
  one.claim_ahead({"held"});
  const bool ahead = GENERATE(true, false);
  CAPTURE(ahead);
  const auto claim = [&](const std::string& id) {
    if (ahead) other.claim_ahead({id});
    other.savepoint();
    return other.claim(id);
  };
  const auto handlers_wait = [&other] {
    return other.database().exec("SHOW lock_timeout").text(0, 0) == "7s";
  };

  other.begin();
  const auto begun = steady_clock::now();
  try {
    (void)claim("held");
    FAIL("it was not held");
  } catch (const PostgresError& error) {
    CHECK(other.is_trouble(error));
  }
  CHECK(steady_clock::now() - begun < 5s);
  other.begin();
  for (const std::string id : {"one", "two"}) {
    CHECK(claim(id));
    CHECK(handlers_wait());
    other.rollback_to_savepoint();
    other.record_attempts(id, {.starts = 1, .last_error = "no"});
    CHECK_FALSE(handlers_wait());
    other.release_savepoint();
  }
  other.commit();
  one.rollback();
  other.begin();
  CHECK(claim("held"));
  other.commit();
}
