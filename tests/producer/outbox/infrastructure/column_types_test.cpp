// Tables outbox_event that other programs have made.

#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"
#include "support/relays.hpp"

#include <algorithm>

using namespace tidings;
using namespace tidings::test;

namespace {

/// What is said at the door, once for everybody who comes through it.
std::string refusal(const Outbox& outbox) {
  const auto database = Database::open(outbox.url());  // no statement is prepared for the table as it was
  const auto told = error_of<DatabaseError>([&] { database->require_schema(); });
  CHECK(error_of<DatabaseError>([&] { (void)database->outbox(); }) == told);
  CHECK(error_of<DatabaseError>([&] { database->migrate(); }) == told);
  return told;
}

/// The table anew, of another kind, with what PostgreSQL writes for columns.
void make_sqlite_table(const Outbox& outbox, const std::string& id, const std::string& time,
                       const std::string& kind) {
  outbox.execute("DROP TABLE outbox_event; CREATE TABLE outbox_event (id " + id +
                 " PRIMARY KEY, aggregateId TEXT, aggregateType TEXT, eventType TEXT, eventData TEXT, "
                 "eventVersion INTEGER DEFAULT 1, occurredAt " +
                 time + ", processedAt " + time + ", publishedAt " + time +
                 ", retryCount INTEGER DEFAULT 0, lastError TEXT, status TEXT DEFAULT 'PENDING', createdAt " +
                 time + ", updatedAt " + time + ") " + kind);
}

}  // namespace

TEST_CASE(
    "columns of types that do not work in PostgreSQL are refused by name, with the change that mends them") {
  Outbox outbox{Engine::postgres};
  const auto id = outbox.add("00000000-0000-0000-0000-000000000001");
  outbox.execute(
      "CREATE DOMAIN moment AS timestamp(3); ALTER TABLE outbox_event ALTER publishedAt TYPE moment, "
      "ALTER id TYPE uuid USING id::uuid, ALTER aggregateId TYPE uuid USING "
      "aggregateId::uuid, ALTER status DROP DEFAULT, ALTER status TYPE text, ALTER status SET DEFAULT "
      "'PENDING', ALTER occurredAt TYPE timestamptz, ALTER createdAt TYPE timestamptz(3), ALTER updatedAt TYPE "
      "timestamp(0), ALTER lastError TYPE varchar(255), ALTER eventVersion TYPE numeric, ALTER eventData TYPE "
      "bytea USING eventData::text::bytea");
  const auto told = refusal(outbox);
  for (const auto* part :
       {R"("id" of type uuid)", R"("aggregateId" of type uuid)", R"("status" of type text)",
        R"("occurredAt" of type timestamp with time zone)",
        R"("createdAt" of type timestamp(3) with time zone)",
        R"("updatedAt" of type timestamp(0) without time zone)",
        R"("lastError" of type character varying(255))", R"("eventVersion" of type numeric)",
        R"("publishedAt" of type moment)", R"("eventData" of type bytea)"})
    CHECK_THAT(told, ContainsSubstring(part));
  CHECK_THAT(told, !ContainsSubstring("aggregateType") && !ContainsSubstring("retryCount"));

  // bytea aside, which holds what it holds.
  outbox.execute("ALTER TABLE outbox_event ALTER eventData TYPE text USING convert_from(eventData, 'UTF8')");
  const auto mend = refusal(outbox);
  outbox.execute(mend.substr(mend.find("ALTER TABLE")));
  const auto database = Database::open(outbox.url());
  database->require_schema();
  CHECK(database->outbox()->find(id).value().event.aggregate_id == "00000000-0000-0000-0000-000000000001");
}

TEST_CASE("other types of columns that PostgreSQL's tables may have work") {
  Relays relays{Engine::postgres};
  auto& outbox = relays.outbox;
  outbox.execute(
      "ALTER TABLE outbox_event ALTER id TYPE varchar(64), ALTER aggregateId TYPE varchar(200), ALTER eventType "
      "TYPE varchar, ALTER eventData TYPE json, ALTER eventVersion TYPE bigint, ALTER retryCount TYPE smallint, "
      "ALTER lastError TYPE varchar(2000), ALTER createdAt TYPE timestamp, ALTER occurredAt TYPE timestamp(0), "
      "ALTER updatedAt TYPE timestamp(6)");
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  const auto database = Database::open(outbox.url());  // as in refusal()
  const auto events = database->outbox();
  std::string large;
  database->transact([&](Transaction& transaction) {
    for (int i = 0; i <= 50; ++i) {
      DomainEvent event;
      event.aggregate_id = "user-" + std::to_string(i % 5);
      event.aggregate_type = "User";
      event.event_type = "user.created";
      event.data = {{"text", std::string(i == 0 ? 2000 : 1, 'x')}};
      if (i == 0) large = event.id;
      events->add(transaction, event);
    }
  });
  auto relay = relays.start({{"OUTBOX_MAX_RETRIES", "2"}}, {"--drain"});
  REQUIRE(relay.wait() == exited(0));
  CHECK(outbox.count_status("PUBLISHED") == 50);
  CHECK(outbox.value(large, "status") == "DEAD_LETTER");
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"list"},
                                                                     {"list", "--status", "dead_letter"},
                                                                     {"show", large},
                                                                     {"stats"},
                                                                     {"retry", "--all-dead"}}) {
    auto all = arguments;
    all.insert(all.begin(), "outbox");
    const auto finished = run(executable("tidings"), all, {.environment = {{"DATABASE_URL", outbox.url()}}});
    CAPTURE(arguments, finished.err);
    CHECK(finished.exit == exited(0));
  }
  CHECK(outbox.value(large, "status") == "PENDING");
}

TEST_CASE("a relay and a migration say at once which columns do not work") {
  const Relays relays{Engine::postgres};
  relays.outbox.execute("ALTER TABLE outbox_event ALTER id TYPE uuid USING id::uuid");
  auto relay = relays.start();
  CHECK(relay.wait() == exited(1));
  CHECK_THAT(relay.err(), ContainsSubstring(R"("id" of type uuid)"));
  const auto migrated = run(executable("auth-service"), {"migrate", "--outbox-only"},
                            {.environment = {{"DATABASE_URL", relays.outbox.url()}}});
  CHECK(migrated.exit == exited(1));
  CHECK_THAT(migrated.err, ContainsSubstring(R"("id" of type uuid)"));
  CHECK(migrated.out == "");
}

TEST_CASE("tables of SQLite without rowids, or that take no text, are refused by name") {
  Outbox outbox;
  make_sqlite_table(outbox, "TEXT", "TEXT", "WITHOUT ROWID");
  CHECK_THAT(refusal(outbox), ContainsSubstring("WITHOUT ROWID"));
  make_sqlite_table(outbox, "INTEGER", "DATETIME", "");
  CHECK_THAT(refusal(outbox), ContainsSubstring(R"("id" of type INTEGER)"));
  make_sqlite_table(outbox, "TEXT", "INTEGER", "STRICT");
  CHECK_THAT(refusal(outbox), ContainsSubstring(R"("publishedAt" of type INTEGER in a STRICT table)"));
  outbox.execute(
      "DROP TABLE outbox_event; CREATE TABLE other(" +
      std::string("id, aggregateId, aggregateType, eventType, eventData, eventVersion, occurredAt, ") +
      "processedAt, publishedAt, retryCount, lastError, status, createdAt, updatedAt); CREATE VIEW "
      "outbox_event AS SELECT rowid, * FROM other");
  const auto database = Database::open(outbox.url());
  const auto told = error_of<DatabaseError>([&] { database->require_schema(); });
  CHECK_THAT(told, ContainsSubstring("a view where a table is needed"));
}

TEST_CASE("other declarations of columns that SQLite's tables may have work") {
  Relays relays;
  auto& outbox = relays.outbox;
  const auto [id, time, kind] = GENERATE(std::array<std::string, 3>{"UUID", "TIMESTAMP", ""},
                                         std::array<std::string, 3>{"VARCHAR(36)", "BIGINT", ""},
                                         std::array<std::string, 3>{"TEXT", "TEXT", "STRICT"},
                                         std::array<std::string, 3>{"BLOB", "", ""});
  CAPTURE(id, time, kind);
  make_sqlite_table(outbox, id, time, kind);
  outbox.database().migrate();  // makes its indexes
  outbox.add_many(50, 5);
  auto relay = relays.start({}, {"--drain"});
  REQUIRE(relay.wait() == exited(0));
  CHECK(relays.audit() == "");
}

TEST_CASE("what is no ordinary table in PostgreSQL is refused: rows would be taken for each other") {
  const Outbox outbox{Engine::postgres};
  const auto [change, told] = GENERATE(table<std::string, std::string>(
      {{"ALTER TABLE outbox_event RENAME TO other; CREATE TABLE outbox_event (LIKE other INCLUDING ALL) "
        "PARTITION BY HASH (id)",
        "a partitioned table where an ordinary table is needed"},
       {"CREATE TABLE archive () INHERITS (outbox_event)", "tables that inherit from it"}}));
  CAPTURE(told);
  outbox.execute(change);
  CHECK_THAT(refusal(outbox), ContainsSubstring(told));
}

TEST_CASE("a view in the place of PostgreSQL's table is refused by that word") {
  const Outbox outbox{Engine::postgres};
  outbox.execute("ALTER TABLE outbox_event RENAME TO other; CREATE VIEW outbox_event AS SELECT * FROM other");
  const auto database = Database::open(outbox.url());
  CHECK_THAT(error_of<DatabaseError>([&] { database->require_schema(); }),
             ContainsSubstring("a view where an ordinary table is needed"));
}
