// How SQLite goes about the statements on an outbox: no plan walks or sorts the table.

#include "support/catch.hpp"
#include "support/sqlite_outbox_scene.hpp"

#include <sqlite3.h>

#include <regex>
#include <string>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("no statement on the outbox walks or sorts the table, whatever its statistics say") {
  SqliteScene scene;
  for (int i = 0; i < 400; ++i)
    scene.add_changed(std::to_string(i), i < 300   ? "status = 'PUBLISHED'"
                                         : i < 390 ? "status = 'PENDING'"
                                                   : "status = 'FAILED'");
  scene.use_all_statements();
  for (const auto* change : {"", "ANALYZE", "UPDATE outbox_event SET aggregateId = 'one'; ANALYZE"}) {
    INFO("after: " << change);
    scene.handle().exec(change);
    const auto statements = scene.statements();
    CHECK(statements.size() >= 23);
    for (auto* const prepared : statements) {
      const std::string statement = sqlite3_sql(prepared);
      INFO(statement);
      const auto plan = scene.plan(statement);
      INFO(plan);
      const auto is = [&](const char* part) { return statement.find(part) != std::string::npos; };
      const bool walks = std::regex_search(plan, std::regex{R"(SCAN (outbox_event|e)\b|\(rowid>\?)"});
      const bool sorts = plan.find("TEMP B-TREE") != std::string::npos;
      // Pending rows are read and written where they stand, the newest rows from the end of the table.
      CHECK((!walks || is("NOT INDEXED WHERE rowid > $1") || is("rowid >= $1 AND rowid < $2") ||
             is("ORDER BY rowid DESC") || is("LIMIT 0")));
      CHECK((!is("rowid >= $1") || plan.find("(rowid>? AND rowid<?)") != std::string::npos));
      // The few that have failed are sorted by position.
      CHECK((!sorts || is("status IN ('FAILED', 'PROCESSING')")));
    }
  }
}

TEST_CASE("a row that was set back to PENDING is read without a walk through what was published behind it") {
  SqliteScene scene;
  scene.outbox.execute(
      "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 150000) "
      "INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, occurredAt, updatedAt, "
      "status) SELECT 'e' || i, 'a', 'User', 't', '{}', '', '', "
      "CASE WHEN i IN (1, 3, 9000, 40000, 100000, 149999, 150000) THEN 'PENDING' ELSE 'PUBLISHED' END FROM n");
  const Ids expected{"e1", "e3", "e9000", "e40000", "e100000", "e149999", "e150000"};
  int steps = 0;
  sqlite3_progress_handler(
      scene.handle().getHandle(), 1, [](void* counter) { return ++*static_cast<int*>(counter), 0; }, &steps);
  const auto few = GENERATE(1, 2, 1000);
  auto read = scene.pending(few);
  for (Ids more; !(more = scene.next_pending(few)).empty();)
    read.insert(read.end(), more.begin(), more.end());
  sqlite3_progress_handler(scene.handle().getHandle(), 0, nullptr, nullptr);
  CHECK(read == expected);
  CHECK(steps < 4 * 150'000);
  scene.add("next");
  CHECK(scene.next_pending() == Ids{"next"});
}

TEST_CASE("the cost of reading pending events does not grow with the backlog") {
  SqliteScene scene;
  const auto instructions = [&](const std::string& part) {
    int steps = 0;
    for (auto* const statement : scene.statements())
      if (std::string{sqlite3_sql(statement)}.find(part) != std::string::npos)
        steps += sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    return steps;
  };
  const auto fill = [&](int count, const std::string& name) {
    scene.outbox.execute(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < " +
        std::to_string(count) +
        ") INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
        "updatedAt) SELECT '" +
        name + "' || i, '" + name + "', 'User', 't', '{}', '', '' FROM n");
  };
  const auto read_pending = [&] {
    CHECK(scene.pending(10).size() == 10);
    return instructions("NOT INDEXED WHERE rowid >");
  };
  const auto read_aggregate = [&] {
    CHECK(scene.repository.read_aggregate({.aggregate_id = "few", .aggregate_type = "User", .after = {}}, 10)
              .size() == 10);
    return instructions("aggregateId = $1");
  };
  fill(20, "few");
  const auto pending_alone = read_pending();
  const auto aggregate_alone = read_aggregate();
  fill(20'000, "many");
  CHECK(read_pending() == pending_alone);
  CHECK(read_aggregate() <= aggregate_alone + 10);  // to find nothing of the aggregate's other forms
}
