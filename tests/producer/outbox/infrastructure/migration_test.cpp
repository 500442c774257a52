// What is made of the outbox, and beside which tables, in SQLite and in PostgreSQL alike.

#include "support/catch.hpp"
#include "support/outbox_scene.hpp"

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a database without tables says which command makes them", "[engines]") {
  const auto engine = engine_under_test();
  CAPTURE(to_string(engine));
  Outbox outbox{engine};
  outbox.execute("DROP TABLE outbox_event");
  const auto fresh = Database::open(outbox.url());
  CHECK_THAT(error_of<DatabaseError>([&] { (void)fresh->outbox(); }),
             ContainsSubstring("run the service's migration"));
  CHECK_THAT(error_of<DatabaseError>([&] { fresh->require_schema(); }),
             ContainsSubstring("run the service's migration"));
  fresh->migrate();
  fresh->migrate();
  fresh->require_schema();
}

TEST_CASE("in another service's database only the outbox is made, whatever that has", "[engines]") {
  const auto engine = engine_under_test();
  CAPTURE(to_string(engine));
  Outbox outbox{engine};
  outbox.execute("DROP TABLE outbox_event; DROP TABLE outbox_lease; DROP TABLE outbox_state");
  const bool has_users = GENERATE(false, true);
  if (has_users) outbox.execute("CREATE TABLE \"user\"(login text)");
  outbox.database().migrate();
  outbox.database().require_schema();
  outbox.execute(has_users ? "SELECT login FROM \"user\"" : "CREATE TABLE \"user\"(login text)");
}

TEST_CASE("a service's own tables are made with the outbox's, all or none", "[engines]") {
  const auto engine = engine_under_test();
  CAPTURE(to_string(engine));
  Outbox outbox{engine};
  outbox.execute("DROP TABLE outbox_event; DROP TABLE outbox_lease; DROP TABLE outbox_state");
  auto& database = outbox.database();
  CHECK_THAT(error_of<DatabaseError>(
                 [&] { database.migrate("CREATE TABLE shop(a int); CREATE TABLE shop(a int);"); }),
             ContainsSubstring("cannot create the tables in"));
  CHECK_THROWS_AS(database.require_schema(), DatabaseError);
  database.migrate("CREATE TABLE shop(a int);");  // it was not made before
  database.require_schema();
  CHECK(outbox.number("SELECT count(*) FROM shop") == 0);
}
