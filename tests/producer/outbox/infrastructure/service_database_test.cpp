// A Database as a service uses it for its own statements: what it may bind, and that nothing of the outbox's
// is set.

#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/stepped_service.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_insert.hpp>

#include <limits>
#include <optional>

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr int many = 20000;

/// As a service that ran for a while has left it: PUBLISHED, of the last hour, with little data.
std::string fill(int rows) {
  return "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, createdAt, "
         "updatedAt, status) SELECT 'old-' || i, 'user-' || i % 100, 'User', 'user.created', '{}', at, at, at, "
         "'PUBLISHED' FROM (SELECT i, now() AT TIME ZONE 'UTC' - i * interval '1 millisecond' AS at FROM "
         "generate_series(1, " +
         std::to_string(rows) + ") AS i) AS numbers";
}

/// What the planner makes of the statement that adds an event, in a session of nobody's own settings.
std::string plan_of_insert(const Outbox& outbox) {
  PostgresConnection connection{outbox.url()};
  connection.connect();
  DomainEvent event;
  event.aggregate_id = "user-1";
  std::string plan;
  const auto rows = std::apply(
      [&](const auto&... texts) {
        return connection.plan_and_exec("EXPLAIN " + outbox_insert::postgresql_and_wake, texts...);
      },
      outbox_insert::parameters(event));
  for (int row = 0; row < rows.size(); ++row) plan += std::string{rows.text(row, 0)} + '\n';
  return plan;
}

}  // namespace

TEST_CASE("a service binds NULL, numbers, texts and bytes, and reads them back", "[engines]") {
  const auto engine = engine_under_test();
  Outbox outbox{engine};
  auto& database = outbox.database();
  outbox.execute(std::string{"CREATE TABLE sample(id integer, name text, price double precision, picture "} +
                 (engine == Engine::postgres ? "bytea)" : "blob)"));
  const Bytes bytes{std::byte{0}, std::byte{255}, std::byte{'\\'}, std::byte{'\''}, std::byte{0}};
  const auto insert = [&](int id, const auto& name, const auto& price, const auto& picture) {
    database.transact([&](Transaction&) {
      database.exec("INSERT INTO sample VALUES ($1, $2, $3, $4)", id, name, price, picture);
    });
  };
  constexpr double third = 1.0 / 3, large = std::numeric_limits<double>::max();
  insert(1, "Zoë", third, bytes);
  insert(2, nullptr, std::nullopt, std::optional<Bytes>{});
  insert(3, std::optional<std::string>{"Ann"}, std::optional{-large}, Bytes{});
  insert(4, "", 2.0F, std::nullopt);

  const auto rows = database.exec("SELECT id, name, price, picture FROM sample ORDER BY id");
  REQUIRE(rows.size() == 4);
  CHECK(rows.text(0, 1) == "Zoë");
  CHECK(rows.real(0, 2) == third);
  CHECK(rows.bytes(0, 3) == bytes);
  for (const std::size_t column : {1, 2, 3}) CHECK(rows.is_null(1, column));
  CHECK(rows.text(2, 1) == "Ann");
  CHECK(rows.real(2, 2) == -large);
  CHECK_FALSE(rows.is_null(2, 3));
  CHECK(rows.bytes(2, 3).empty());
  CHECK_FALSE(rows.is_null(3, 1));
  CHECK(rows.real(3, 2) == 2);
  CHECK(database.exec("SELECT count(*) FROM sample WHERE name IS NULL AND picture IS NULL").integer(0, 0) ==
        1);
  CHECK(database.exec("SELECT id FROM sample WHERE price = $1", third).integer(0, 0) == 1);
  CHECK(database.exec("SELECT id FROM sample WHERE picture = $1", bytes).integer(0, 0) == 1);
}

TEST_CASE("a service reads 16 bytes back as they are, also where they might be a UUID", "[engines]") {
  Outbox outbox{engine_under_test()};
  auto& database = outbox.database();
  outbox.execute(std::string{"CREATE TABLE sample(hash "} +
                 (outbox.engine() == Engine::postgres ? "bytea)" : "blob)"));
  Bytes hash(16, std::byte{0x80});
  hash[6] = std::byte{0x70};  // a UUID's version, and its variant behind it
  database.transact([&](Transaction&) { database.exec("INSERT INTO sample VALUES ($1)", hash); });
  CHECK(database.exec("SELECT hash FROM sample").bytes(0, 0) == hash);
}

TEST_CASE("what libpq says in several lines is told in one") {
  const auto told = error_of<DatabaseError>([] { (void)Database::open("postgresql://127.0.0.1:1/none"); });
  CHECK_THAT(told, ContainsSubstring("refused Is the server running"));
  CHECK(told.find_first_of("\t\n") == std::string::npos);
}

TEST_CASE("a text that PostgreSQL would cut at a NUL is refused") {
  Outbox outbox{Engine::postgres};
  CHECK_THAT(
      error_of<DatabaseError>([&] { outbox.database().exec("SELECT $1::text", std::string("a\0b", 3)); }),
      ContainsSubstring("bind it as Bytes"));
}

TEST_CASE("a service's own statements run with the settings of its server, also behind an event") {
  Outbox outbox{Engine::postgres};
  const auto settings = [](Database& database) {
    std::vector<std::string> values;
    for (const auto* name : {"enable_seqscan", "enable_bitmapscan", "plan_cache_mode", "jit", "lock_timeout",
                             "idle_in_transaction_session_timeout"})
      values.push_back(database.exec(std::string{"SHOW "} + name).text(0, 0));
    return values;
  };
  const std::vector<std::string> servers{"on", "on", "auto", "on", "0", "0"};
  for (const auto mode : {Database::Open::existing, Database::Open::create}) {
    const auto database = Database::open(outbox.url(), mode);
    const auto events = database->outbox();
    CHECK(settings(*database) == servers);
    database->transact([&](Transaction& transaction) {
      events->add(transaction, DomainEvent{});
      CHECK(settings(*database) == servers);
    });
  }
  CHECK(settings(*Database::open(outbox.url(), Database::Open::operations)) ==
        std::vector<std::string>{"off", "off", "force_generic_plan", "off", "5s", "0"});
  CHECK(settings(*Database::open(outbox.url(), Database::Open::processor)) ==
        std::vector<std::string>{"off", "off", "force_generic_plan", "off", "5s", "5s"});
}

TEST_CASE("an event is added by the index, whenever the session planned it") {
  Outbox outbox{Engine::postgres};
  outbox.execute("ALTER TABLE outbox_event SET (autovacuum_enabled = off); ANALYZE outbox_event");
  const auto database = Database::open(outbox.url());
  const auto events = database->outbox();
  const auto add = [&](int count) {
    for (int i = 0; i < count; ++i)
      database->transact([&](Transaction& transaction) { events->add(transaction, DomainEvent{}); });
    database->exec("SELECT pg_stat_force_next_flush()");
  };
  const auto read = [&] {
    return outbox.number("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'outbox_event'");
  };
  add(10);  // when the table is empty, reading all of it is cheapest
  outbox.execute(fill(many));
  const auto before = read();
  add(10);
  CHECK(outbox.count_status("PENDING") == 20);
  CHECK(read() - before < many);  // what the test itself counts is one scan, by the index
}

TEST_CASE("an event that others add is added by the index, whatever the statistics say") {
  Outbox outbox{Engine::postgres};
  outbox.execute("ALTER TABLE outbox_event SET (autovacuum_enabled = off); ANALYZE outbox_event; " +
                 fill(many));
  const auto by_index = [&] { return ContainsSubstring("outbox_event_status_createdAt_idx"); };
  CHECK_THAT(plan_of_insert(outbox), by_index());
  outbox.execute("ANALYZE outbox_event");  // all PUBLISHED
  CHECK_THAT(plan_of_insert(outbox), by_index());
  outbox.execute("UPDATE outbox_event SET status = 'PENDING'; ANALYZE outbox_event");
  CHECK_THAT(plan_of_insert(outbox), by_index());
  outbox.execute("UPDATE outbox_event SET status = 'PUBLISHED'");
  CHECK_THAT(plan_of_insert(outbox), by_index());
}
