// What a handler does in the transaction of a PostgresInbox, and what it must not.

#include "support/postgres_instance.hpp"

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a statement that PostgreSQL refuses undoes its own event alone, also when the handler hides it") {
  const PostgresServer postgres;
  Scene scene;
  const bool hides = GENERATE(false, true);
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInstance instance{postgres.url(), options,
                            [hides](const Delivery& delivery, PostgresTransaction& tx) {
                              if (delivery.event.id != "bad") return;
                              try {
                                tx.exec("INSERT INTO missing VALUES (1)");
                              } catch (const PostgresError&) {
                                if (!hides) throw;
                              }
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'bad'") == 0);
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"),
             ContainsSubstring(hides ? "the handler went on" : "\"missing\""));
}

TEST_CASE(
    "a queued statement that PostgreSQL refuses undoes its own event alone, whoever comes to hear of it") {
  enum class Next { queues, runs, hides_the_error, hides_it_and_goes_on, goes_back_to_a_savepoint };
  const PostgresServer postgres;
  Scene scene;
  const auto next = GENERATE(Next::queues, Next::runs, Next::hides_the_error, Next::hides_it_and_goes_on,
                             Next::goes_back_to_a_savepoint);
  CAPTURE(next);
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInbox inbox{postgres.url()};
  inbox.database().exec("CREATE TABLE effect(id text)");
  Consumer consumer{inbox, options};
  const auto handle = [next](const nlohmann::json&, PostgresTransaction& tx, const Delivery& delivery) {
    if (next == Next::goes_back_to_a_savepoint) tx.queue("SAVEPOINT its_own");
    tx.queue("INSERT INTO effect VALUES ($1)", delivery.event.id);
    if (delivery.event.id == "bad") tx.queue("INSERT INTO effect VALUES (1 / 0)");
    if (delivery.event.id != "fine-3" || next == Next::queues) return;
    try {
      tx.exec("SELECT 1");
    } catch (const PostgresError&) {
      if (next == Next::runs) throw;
      if (next == Next::hides_it_and_goes_on) tx.exec("SELECT 2");
      if (next == Next::goes_back_to_a_savepoint) tx.exec("ROLLBACK TO SAVEPOINT its_own");
    }
  };
  consumer.on<nlohmann::json>("user.created", handle);
  std::jthread thread{[&](const std::stop_token& stop) { consumer.run(stop); }};
  REQUIRE_WITHIN(20s, consumer.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(consumer.stats().handled == 40);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'bad'") == 0);
  CHECK(scene.dead_letters().at(0).header("ce-id") == "bad");
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"), ContainsSubstring("division by zero"));
}

TEST_CASE("a statement of a handler's that runs into statement_timeout is its event's error") {
  const PostgresServer postgres;
  Scene scene;
  const bool queued = GENERATE(false, true);
  const auto place =
      GENERATE("event-9", "event-3");  // the last of the batch, whose error the commit tells, and not
  CAPTURE(queued, place);
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(10);
  PostgresInstance instance{postgres.url() + "?options=-c statement_timeout=500", options,
                            [queued, place](const Delivery& delivery, PostgresTransaction& tx) {
                              if (delivery.event.id != place) return;
                              if (queued)
                                tx.queue("SELECT pg_sleep(60)");
                              else
                                tx.exec("SELECT pg_sleep(60)");
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 9);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 9);
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"), ContainsSubstring("statement timeout"));
}

TEST_CASE(
    "an error of a handler's statement that looks like PostgreSQL's trouble is its event's in the end") {
  const PostgresServer postgres;
  Scene scene;
  const std::string state = GENERATE("55P03", "58P01", "53400", "40001", "57P03");
  const bool queued = GENERATE(false, true);
  CAPTURE(state, queued);
  query(postgres,
        "CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE 'fails' "
        "USING ERRCODE = '" +
            state + "'; END$$");
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(10);
  std::atomic<int> calls{0};
  PostgresInstance instance{postgres.url(), options, [&](const Delivery& delivery, PostgresTransaction& tx) {
                              ++calls;
                              if (delivery.event.id != "event-3") return;
                              if (queued)
                                tx.queue("SELECT fail()");
                              else
                                tx.exec("SELECT fail()");
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 9);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 9);
  CHECK(scene.dead_letters().at(0).header("tidings-attempts") == "2");
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"), ContainsSubstring("fails"));
  if (!queued) CHECK(calls <= 9 + 6);
}

TEST_CASE("a handler that ends its own session again and again is its event's error") {
  const PostgresServer postgres;
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(10);
  PostgresInstance instance{postgres.url(), options, [](const Delivery& delivery, PostgresTransaction& tx) {
                              if (delivery.event.id != "event-3") return;
                              tx.exec("SELECT pg_terminate_backend(pg_backend_pid())");
                            }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 9);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 9);
}

TEST_CASE("a statement of the inbox's own that runs into statement_timeout uses no attempt") {
  const PostgresServer postgres;
  Scene scene;
  query(postgres, "CREATE TABLE effect(id text)");
  { PostgresInbox makes_tables{postgres.url()}; }
  PostgresConnection other{postgres.url()};
  other.connect();
  other.exec("BEGIN");
  other.exec("LOCK TABLE inbox");
  PostgresInstance instance{postgres.url() + "?options=-c statement_timeout=300", scene.options()};
  scene.publish("one");
  REQUIRE_WITHIN(20s, instance.status().reason.find("statement timeout") != std::string::npos);
  other.exec("COMMIT");
  REQUIRE_WITHIN(20s, instance.stats().handled == 1 && scene.all_acked());
  CHECK(instance.stats().retried == 0);
}

TEST_CASE("a table that a handler reads may change its columns while the consumer runs") {
  const PostgresServer postgres;
  Scene scene;
  query(postgres, "CREATE TABLE account AS SELECT 1 AS id");
  PostgresInstance instance{postgres.url(), scene.options(), [](const Delivery&, PostgresTransaction& tx) {
                              tx.exec("SELECT * FROM account");
                            }};
  scene.publish_many(10, "before");
  REQUIRE_WITHIN(20s, scene.all_acked());
  query(postgres, "ALTER TABLE account ADD name text");
  scene.publish_many(10, "after");
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(instance.stats().handled == 20);
  CHECK(instance.stats().retried + instance.stats().dead_lettered == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 20);
}

TEST_CASE("a handler that changes a table between two reads of it fails, and holds nobody up") {
  const PostgresServer postgres;
  Scene scene;
  query(postgres, "CREATE TABLE account AS SELECT 1 AS id");
  auto options = scene.options();
  options.max_attempts = 2;
  PostgresInstance instance{postgres.url(), options, [](const Delivery& delivery, PostgresTransaction& tx) {
                              tx.exec("SELECT * FROM account");
                              if (delivery.event.id != "event-3") return;
                              tx.exec("ALTER TABLE account ADD name text");
                              tx.exec("SELECT * FROM account");
                            }};
  scene.publish_many(10);
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 9);
}
