// Handlers on a PostgresInbox that end, leave or divide its transaction.

#include "support/postgres_instance.hpp"

using namespace tidings;
using namespace tidings::test;

TEST_CASE(
    "a handler that ends the inbox's transaction fails alone, however it does that and wherever its event "
    "stands") {
  using Way = std::pair<const char*, std::function<void(PostgresTransaction&, PostgresConnection&)>>;
  const auto way = GENERATE(values<Way>({
      {"rolls back", [](auto& tx, auto&) { tx.exec("ROLLBACK"); }},
      {"commits", [](auto& tx, auto&) { tx.exec("/* all */ commit"); }},
      {"commits and begins anew",
       [](auto& tx, auto&) {
         tx.exec("COMMIT");
         tx.exec("BEGIN");
       }},
      {"hides the error",
       [](auto& tx, auto&) {
         try {
           tx.exec("ROLLBACK AND CHAIN");
         } catch (const PostgresError&) {
         }
       }},
      {"hides the error and throws another",
       [](auto& tx, auto&) {
         try {
           tx.exec("COMMIT");
         } catch (const PostgresError&) {
         }
         throw std::runtime_error("mail server down");
       }},
      {"queues it", [](auto& tx, auto&) { tx.queue("COMMIT"); }},
      {"calls rollback()", [](auto&, auto& connection) { connection.rollback(); }},
      {"rolls back in a script", [](auto&, auto& connection) { connection.script("SELECT 1; ROLLBACK"); }},
      {"begins anew in a script", [](auto&, auto& connection) { connection.script("ROLLBACK; BEGIN"); }},
  }));
  const bool among_others = GENERATE(true, false);
  CAPTURE(way.first, among_others);
  const PostgresServer postgres;
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  if (!among_others) options.max_batch = 1;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInstance instance{
      postgres.url(), options,
      [way](const Delivery& delivery, PostgresTransaction& tx, PostgresConnection& connection) {
        if (delivery.event.id != "bad") return;
        way.second(tx, connection);
        tx.exec("INSERT INTO effect VALUES ($1)", delivery.event.id);
      }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(instance.stats().handled == 40);
  // Where it cannot be refused, what follows the end is a transaction of its own.
  if (std::string{way.first} != "calls rollback()" && std::string{way.first} != "rolls back in a script")
    CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'bad'") == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 40);
  CHECK(scene.dead_letters().at(0).header("ce-id") == "bad");
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"),
             ContainsSubstring("must not end the inbox's transaction"));
}

TEST_CASE(
    "a script of a handler's that commits is seen too late for its own writes, and costs no other event") {
  const auto script = GENERATE("COMMIT", "COMMIT; BEGIN", "COMMIT AND CHAIN", "BEGIN; SELECT 1; COMMIT");
  const bool throws = GENERATE(false, true);
  CAPTURE(script, throws);
  const PostgresServer postgres;
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  scene.publish_many(20, "good");
  scene.publish("bad");
  scene.publish_many(20, "fine");
  PostgresInstance instance{
      postgres.url(), options,
      [script, throws](const Delivery& delivery, PostgresTransaction&, PostgresConnection& connection) {
        if (delivery.event.id != "bad") return;
        connection.script(script);
        if (throws) throw std::runtime_error("mail server down");
      }};
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1 && scene.all_acked());
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(DISTINCT id) FROM effect WHERE id <> 'bad'") == 40);
  CHECK(number(postgres, "SELECT count(*) FROM inbox") == 40);
  CHECK_THAT(scene.dead_letters().at(0).header("tidings-reason"),
             ContainsSubstring("must not end the inbox's transaction"));
}

TEST_CASE("what a handler writes in a savepoint of its own is undone alone when that part fails") {
  const PostgresServer postgres;
  Scene scene;
  PostgresInstance instance{
      postgres.url(), scene.options(), [](const Delivery& delivery, PostgresTransaction& tx) {
        tx.savepoint([&] { tx.queue("INSERT INTO effect VALUES ('kept')"); });
        try {
          tx.savepoint([&] {
            tx.exec("INSERT INTO effect VALUES ('undone')");
            tx.savepoint([&] { tx.exec("INSERT INTO missing VALUES (1)"); });
          });
        } catch (const PostgresError& error) {
          CHECK(error.sqlstate() == "42P01");
        }
        CHECK(tx.exec("UPDATE effect SET id = id WHERE id = $1", delivery.event.id) == 1);
      }};
  scene.publish_many(20);
  REQUIRE_WITHIN(20s, instance.stats().handled == 20 && scene.all_acked());
  CHECK(instance.stats().retried == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'kept'") == 20);
  CHECK(number(postgres, "SELECT count(*) FROM effect WHERE id = 'undone'") == 0);
  CHECK(number(postgres, "SELECT count(*) FROM effect") == 40);
}
