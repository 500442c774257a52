#include "infrastructure/sqlite/sqlite_outbox_repository.hpp"

#include "infrastructure/sqlite/sqlite_outcome_store.hpp"
#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <algorithm>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

namespace {

constexpr auto some_time = std::chrono::sys_days{std::chrono::year{2026} / 1 / 31} + 8h + 15min + 30s + 123ms;
constexpr const char* some_time_text = "2026-01-31T08:15:30.123Z";

/// A migrated database with a repository on it, and a look into the file from outside.
struct Outbox {
  TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  SqliteOutboxRepository repository = [this] {
    database.migrate();
    return SqliteOutboxRepository{database};
  }();
  SqliteOutcomeStore store{database};

  void add(const std::string& id, const std::string& aggregate = "a", const std::string& type = "User") {
    DomainEvent event;
    event.id = id;
    event.aggregate_id = aggregate;
    event.aggregate_type = type;
    event.event_type = "user.created";
    database.transact([&](Transaction& transaction) { repository.add(transaction, event); });
  }

  /// With `id` as aggregate, and the columns of `set` changed.
  void add_changed(const std::string& id, const std::string& set) {
    add(id, id);
    sqlite::execute(folder / "a.db", "UPDATE outbox_event SET " + set + " WHERE id = '" + id + "'");
  }

  int write(const std::vector<Outcome>& outcomes, bool delete_published = false) {
    int published = 0;
    database.transact(
        [&](Transaction& transaction) { published = store.write(transaction, outcomes, delete_published); });
    return published;
  }

  OutboxRepository::Cleanup clean_up(Timestamp before, int limit) {
    OutboxRepository::Cleanup done;
    database.transact(
        [&](Transaction& transaction) { done = repository.cleanup(transaction, before, limit); });
    return done;
  }

  std::vector<std::string> pending(int limit = 1000) {
    std::vector<OutboxEvent> events;
    repository.rewind();
    repository.read_pending(limit, events);
    return ids(events);
  }

  static std::vector<std::string> ids(const std::vector<OutboxEvent>& events) {
    std::vector<std::string> all;
    for (const auto& event : events) all.push_back(event.id);
    return all;
  }

  std::int64_t position(const std::string& id) { return repository.find(id).value().event.position.row; }

  Outcome outcome(const std::string& id, RowStatus status) {
    return {.position = position(id),
            .id = id,
            .status = status,
            .retry_count = 3,
            .error = "no",
            .at = some_time};
  }

  /// A column of one row as the file has it; "NULL" when it has nothing.
  std::string value(const std::string& id, const std::string& name) {
    return sqlite::text(folder / "a.db",
                        "SELECT ifnull(" + name + ", 'NULL') FROM outbox_event WHERE id = '" + id + "'");
  }

  std::vector<std::string> all() {
    return sqlite::column(folder / "a.db", "SELECT id FROM outbox_event ORDER BY id");
  }

  /// False while a statement that was not reset holds a read transaction open.
  bool can_be_checkpointed() {
    sqlite::execute(folder / "a.db", "CREATE TABLE IF NOT EXISTS other(a); INSERT INTO other VALUES (1)");
    SqliteDatabase other{folder / "a.db"};
    other.handle().setBusyTimeout(1);
    return other.handle().execAndGet("PRAGMA wal_checkpoint(TRUNCATE)").getInt() == 0;
  }

  std::vector<std::string> statements() {
    std::vector<std::string> all;
    for (auto* statement = sqlite3_next_stmt(database.handle().getHandle(), nullptr); statement != nullptr;
         statement = sqlite3_next_stmt(database.handle().getHandle(), statement))
      all.emplace_back(sqlite3_sql(statement));
    return all;
  }

  /// How SQLite goes about a statement.
  std::string plan(const std::string& sql) {
    std::string steps;
    SQLite::Statement explain{database.handle(), "EXPLAIN QUERY PLAN " + sql};
    while (explain.executeStep()) steps += explain.getColumn(3).getString() + "\n";
    return steps;
  }
};

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("an event goes byte for byte into SQLite and out of it") {
  Outbox outbox;
  DomainEvent event;
  event.aggregate_id = "Zoë O'Neil";
  event.aggregate_type = "User";
  event.event_type = "user.created";
  event.event_version = 7;
  event.occurred_at = some_time;
  event.data = {{"name", "Zoë \"Z\" O'Neil"}, {"big", std::string(100'000, 'x')}};
  event.metadata = {{"source", "auth-service"}};
  const auto before = now();
  outbox.database.transact([&](Transaction& transaction) { outbox.repository.add(transaction, event); });

  std::vector<OutboxEvent> read;
  outbox.repository.read_pending(10, read);
  REQUIRE(read.size() == 1);
  CHECK(read[0].position == 1);
  CHECK(read[0].id == event.id);
  CHECK(read[0].aggregate_id == event.aggregate_id);
  CHECK(read[0].aggregate_type == "User");
  CHECK(read[0].event_type == "user.created");
  CHECK(read[0].event_version == 7);
  CHECK(read[0].event_data == event.event_data());
  CHECK(read[0].occurred_at == some_time);
  CHECK(read[0].retry_count == 0);
  CHECK(read[0].status == RowStatus::pending);
  CHECK((read[0].updated_at >= before && read[0].updated_at <= now()));
  CHECK(outbox.value(event.id, "occurredAt") == some_time_text);
  CHECK(outbox.value(event.id, "createdAt") == outbox.value(event.id, "updatedAt"));
  CHECK(outbox.value(event.id, "createdAt").size() == std::string(some_time_text).size());
  CHECK(outbox.value(event.id, "processedAt") == "NULL");
  CHECK(outbox.value(event.id, "publishedAt") == "NULL");
  CHECK(outbox.value(event.id, "lastError") == "NULL");
}

TEST_CASE("a repository on a database without tables says which command makes them") {
  const TempDir folder;
  SqliteDatabase database{folder / "a.db", Database::Open::create};
  CHECK_THAT(error_of<DatabaseError>([&] { const SqliteOutboxRepository repository{database}; }),
             ContainsSubstring("run the service's migration"));
}

TEST_CASE("pending events are read in the order of their rows in SQLite") {
  Outbox outbox;
  SqliteDatabase other{outbox.folder / "a.db"};
  SqliteOutboxRepository others{other};
  Ids written;
  for (int i = 0; i < 40; ++i) {
    DomainEvent event;
    event.id = std::to_string((i * 17) % 40);
    auto& database = i % 3 == 0 ? other : outbox.database;
    auto& repository = i % 3 == 0 ? others : outbox.repository;
    database.transact([&](Transaction& transaction) { repository.add(transaction, event); });
    written.push_back(event.id);
  }
  CHECK(outbox.pending() == written);

  Ids paged;
  std::vector<OutboxEvent> page;
  outbox.repository.rewind();
  for (;;) {
    outbox.repository.read_pending(7, page);
    if (page.empty()) break;
    CHECK(page.size() <= 7);
    for (const auto& id : Outbox::ids(page)) paged.push_back(id);
  }
  CHECK(paged == written);
}

TEST_CASE("an outcome finds its row by id when VACUUM has given it another position") {
  Outbox outbox;
  outbox.add("e1");
  outbox.add("e2");
  auto first = outbox.outcome("e1", RowStatus::failed);
  auto second = outbox.outcome("e2", RowStatus::published);
  sqlite::execute(outbox.folder / "a.db",
                  "UPDATE outbox_event SET rowid = 50 WHERE id = 'e1'; UPDATE outbox_event SET rowid = 1 "
                  "WHERE id = 'e2'");
  outbox.write({first, second});
  CHECK(outbox.value("e1", "status") == "FAILED");
  CHECK(outbox.value("e2", "status") == "PUBLISHED");
}

TEST_CASE("published rows can be deleted instead of kept, and positions still only grow") {
  Outbox outbox;
  std::int64_t last = 0;
  for (int i = 0; i < 20; ++i) {
    const auto id = std::to_string(i);
    outbox.add(id);
    const auto position = outbox.position(id);
    // A processor that reads past `last` would never see a row whose position had been used before.
    REQUIRE(position > last);
    last = position;
    outbox.write({outbox.outcome(id, RowStatus::published)}, true);
  }
  // Each was the newest when it was written back, so it was kept as PUBLISHED; cleanup takes all but the
  // last.
  CHECK(outbox.pending().empty());
  CHECK(outbox.clean_up(now() + 1h, 100).deleted == 19);
  CHECK(outbox.all() == Ids{"19"});
  CHECK(outbox.value("19", "status") == "PUBLISHED");
}

TEST_CASE("a published row that is not the newest is deleted at once, and a failed one is not") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3", "e4"}) outbox.add(id);
  outbox.write({outbox.outcome("e1", RowStatus::published), outbox.outcome("e2", RowStatus::failed),
                outbox.outcome("e3", RowStatus::dead_letter)},
               true);
  CHECK(outbox.all() == Ids{"e2", "e3", "e4"});
}

TEST_CASE("many rows published in a row are written by their positions as each would be by itself") {
  const bool deleting = GENERATE(false, true);
  CAPTURE(deleting);
  Outbox outbox;
  std::vector<Outcome> outcomes;
  for (int i = 100; i < 140; ++i) outbox.add(std::to_string(i));
  for (int i = 100; i < 140; ++i) outcomes.push_back(outbox.outcome(std::to_string(i), RowStatus::published));
  const auto left = [&](const std::string& status) {
    return sqlite::column(outbox.folder / "a.db",
                          "SELECT id FROM outbox_event WHERE status = '" + status + "' ORDER BY id");
  };
  const auto change = [&](const std::string& statement) {
    sqlite::execute(outbox.folder / "a.db", statement);
  };

  SECTION("all were pending") {
    outbox.write(outcomes, deleting);
    CHECK(left("PENDING").empty());
    CHECK(left("PUBLISHED").size() == (deleting ? 1 : 40));  // the newest stays
    CHECK(outbox.value("139", "publishedAt") == some_time_text);
  }
  SECTION("not all of them were confirmed") {
    outcomes.erase(outcomes.begin() + 20);
    outcomes.pop_back();
    outbox.write(outcomes, deleting);
    CHECK(left("PENDING") == Ids{"120", "139"});
    CHECK(left("PUBLISHED").size() == (deleting ? 0 : 38));
  }
  SECTION("some were retries") {
    change("UPDATE outbox_event SET status = 'PROCESSING' WHERE id = '110'");
    change("UPDATE outbox_event SET status = 'FAILED', lastError = 'no' WHERE id = '120'");
    outbox.write(outcomes, deleting);
    CHECK(left("PROCESSING").empty());
    CHECK(left("FAILED").empty());
    CHECK(left("PUBLISHED").size() == (deleting ? 1 : 40));
    if (!deleting) CHECK(outbox.value("120", "lastError") == "NULL");
  }
  SECTION("some were settled or deleted meanwhile") {
    change("UPDATE outbox_event SET status = 'DEAD_LETTER' WHERE id = '110'");
    change("DELETE FROM outbox_event WHERE id = '120'");
    outbox.write(outcomes, deleting);
    CHECK(left("DEAD_LETTER") == Ids{"110"});
    CHECK(left("PENDING").empty());
  }
  SECTION("VACUUM has given them other positions") {
    change("UPDATE outbox_event SET rowid = rowid + 1000");
    outbox.add("later");
    change("UPDATE outbox_event SET rowid = 7 WHERE id = 'later'");
    outbox.write(outcomes, deleting);
    CHECK(left("PENDING") == Ids{"later"});
  }
  SECTION("some failed in between") {
    outcomes[15].status = RowStatus::failed;
    outbox.write(outcomes, deleting);
    CHECK(left("FAILED") == Ids{"115"});
    CHECK(left("PENDING").empty());
  }
}

TEST_CASE("cleanup understands times as other writers of SQLite store them") {
  Outbox outbox;
  const std::string old = "createdAt = '2026-01-01T00:00:00.000Z', updatedAt = '2026-01-01T00:00:00.000Z', ";
  const std::string early = "publishedAt = '2026-01-01T00:00:01.000Z'",
                    late = "publishedAt = '2026-01-09T00:00:00.000Z'";
  outbox.add_changed("published early", old + "status = 'PUBLISHED', " + early);
  outbox.add_changed("published late", old + "status = 'PUBLISHED', " + late);
  outbox.add_changed("dead", old + "status = 'DEAD_LETTER', processedAt = '2026-01-01T00:00:01.000Z'");
  outbox.add_changed("failed", old + "status = 'FAILED'");
  outbox.add_changed("processing", old + "status = 'PROCESSING'");
  outbox.add_changed("pending", old + "status = 'PENDING'");
  // As other writers put their times.
  outbox.add_changed("epoch early",
                     "status = 'PUBLISHED', createdAt = 1767225600000, publishedAt = 1767225601000");
  outbox.add_changed("epoch late",
                     "status = 'PUBLISHED', createdAt = 1767225600000, publishedAt = 1767916800000");
  outbox.add_changed("fraction early",
                     "status = 'PUBLISHED', createdAt = 1767225500000.5, publishedAt = 1767225601000.5");
  outbox.add_changed(
      "plain early",
      "status = 'PUBLISHED', createdAt = '2026-01-01 00:00:00', publishedAt = '2026-01-01 00:00:01'");
  outbox.add_changed(
      "plain late",
      "status = 'PUBLISHED', createdAt = '2026-01-01 00:00:00', publishedAt = '2026-01-05 23:00:00'");
  outbox.add_changed("unsaid early", old + "status = 'PUBLISHED'");
  outbox.add_changed("newest", old + "status = 'PUBLISHED', " + early);

  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  int deleted = 0;
  for (bool more = true; more;) {
    const auto done = outbox.clean_up(limit, 1);
    CHECK(done.deleted <= 1);
    deleted += done.deleted;
    more = done.more;
  }
  CHECK(deleted == 5);
  CHECK(outbox.all() == Ids{"dead", "epoch late", "failed", "newest", "pending", "plain late", "processing",
                            "published late"});
  CHECK(outbox.clean_up(limit, 100).deleted == 0);
}

TEST_CASE("cleanup of SQLite examines a bounded number of rows a call") {
  Outbox outbox;
  outbox.add("e");
  // After a long outage: created long ago, published just now; and behind them one that may go.
  sqlite::execute(
      outbox.folder / "a.db",
      "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
      "INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, occurredAt, status, "
      "createdAt, publishedAt, updatedAt) SELECT 'late' || i, 'a', 'User', 't', '{}', '', 'PUBLISHED', "
      "'2026-01-01T00:00:00.000Z', '2026-01-09T00:00:00.000Z', '' FROM n;"
      "UPDATE outbox_event SET id = 'early', status = 'PUBLISHED', createdAt = '2026-01-02T00:00:00.000Z', "
      "publishedAt = '2026-01-02T00:00:00.000Z' WHERE id = 'e'");
  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  for (int pass = 1; pass <= 2; ++pass) {
    int calls = 0, deleted = 0;
    for (bool more = true; more; ++calls) {
      REQUIRE(calls < 100);
      const auto done = outbox.clean_up(limit, 10);
      deleted += done.deleted;
      more = done.more;
    }
    CHECK(deleted == (pass == 1 ? 1 : 0));
    CHECK(calls == 11);  // 100 rows examined a call
  }
}

TEST_CASE("rows of foreign writers are read whatever is in them") {
  const TempDir folder;
  // The columns without their constraints and types, as somebody's migration may have left them.
  sqlite::execute(
      folder / "a.db",
      "CREATE TABLE outbox_event(id, aggregateId, aggregateType, eventType, eventData, eventVersion, "
      "occurredAt, processedAt, publishedAt, retryCount, lastError, status, createdAt, updatedAt);"
      "CREATE INDEX outbox_event_aggregateId_aggregateType_idx ON outbox_event(aggregateId, aggregateType);"
      "CREATE INDEX outbox_event_status_createdAt_idx ON outbox_event(status, createdAt);"
      "INSERT INTO outbox_event(id, status) VALUES ('nulls', 'PENDING');"
      "INSERT INTO outbox_event VALUES ('blob', 12, x'41', 'x', CAST('{\"a\":1}' AS BLOB), 'two', "
      "1769847330123, '', 5, -3, x'ff', 'PENDING', 'x', 1769847330123);"
      "INSERT INTO outbox_event VALUES ('created', '', '', '', '', 9e99, 'soon', NULL, NULL, 9e99, NULL, "
      "'PENDING', '2026-01-31 08:15:30', NULL);"
      "INSERT INTO outbox_event(id, status) VALUES ('odd', 'ARCHIVED'), ('none', NULL), (NULL, 'FAILED');");
  SqliteDatabase database{folder / "a.db"};
  SqliteOutboxRepository repository{database};
  std::vector<OutboxEvent> events;
  repository.read_pending(100, events);
  REQUIRE(Outbox::ids(events) == Ids{"nulls", "blob", "created"});
  CHECK(events[0].event_data.empty());
  CHECK(events[0].occurred_at == Timestamp{});
  CHECK(events[1].aggregate_id == "12");
  CHECK(events[1].aggregate_type == "A");
  CHECK(events[1].event_data == "{\"a\":1}");
  CHECK(events[1].event_version == 0);
  CHECK(events[1].retry_count == 0);
  CHECK(events[1].occurred_at == some_time);
  CHECK(events[1].updated_at == some_time);
  CHECK(events[2].occurred_at == std::chrono::floor<std::chrono::seconds>(some_time));  // createdAt
  CHECK(repository.read_retries({}, 10).size() == 1);
  CHECK(repository.oldest_pending());
  CHECK(repository.list({}, 100).size() == 6);
  CHECK(repository.find("odd")->event.status == RowStatus::dead_letter);  // not ours to touch
  CHECK(repository.find("none")->event.status == RowStatus::dead_letter);
  database.transact([&](Transaction& transaction) {
    SqliteOutcomeStore{database}.write(
        transaction, {{.position = events[0].position, .id = "nulls", .error = {}, .at = some_time}}, false);
    CHECK(repository.cleanup(transaction, now(), 10).deleted == 0);
  });
  CHECK(repository.find("nulls")->published_at == some_time_text);
}

TEST_CASE("nothing that was read keeps the WAL from being checkpointed") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3"}) outbox.add(id);
  outbox.write({outbox.outcome("e1", RowStatus::published), outbox.outcome("e2", RowStatus::failed)});
  REQUIRE(outbox.can_be_checkpointed());
  CHECK(outbox.pending(1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.read_aggregate({.aggregate_id = "a", .aggregate_type = "User", .after = {}}, 1)
            .size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.read_retries({}, 1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.count_pending() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.stats(10).oldest_pending);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.list({}, 1).size() == 1);
  CHECK(outbox.repository.list(RowStatus::failed, 1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.find("e1"));
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.clean_up(now() + 1h, 1).deleted == 1);
  CHECK(outbox.can_be_checkpointed());
  outbox.write({outbox.outcome("e3", RowStatus::published)}, true);
  CHECK(outbox.can_be_checkpointed());
  CHECK_THROWS_AS(outbox.add("e3"), DatabaseError);
  CHECK(outbox.can_be_checkpointed());
}

TEST_CASE("no statement on the outbox walks or sorts the table, whatever its statistics say") {
  Outbox outbox;
  for (int i = 0; i < 400; ++i)
    outbox.add_changed(std::to_string(i), i < 300   ? "status = 'PUBLISHED'"
                                          : i < 390 ? "status = 'PENDING'"
                                                    : "status = 'FAILED'");
  for (const auto* change : {"", "ANALYZE", "UPDATE outbox_event SET aggregateId = 'one'; ANALYZE"}) {
    INFO("after: " << change);
    outbox.database.handle().exec(change);
    const auto statements = outbox.statements();
    CHECK(statements.size() >= 18);
    for (const auto& statement : statements) {
      INFO(statement);
      const auto plan = outbox.plan(statement);
      INFO(plan);
      const auto is = [&](const char* part) { return statement.find(part) != std::string::npos; };
      const bool walks = plan.find("SCAN") != std::string::npos || plan.find("(rowid>?") != std::string::npos;
      const bool sorts = plan.find("TEMP B-TREE") != std::string::npos;
      // Pending rows are read and written where they stand. What operators ask: counts come from the index
      // alone, the newest rows from the end of the table.
      const bool counts = is("GROUP BY status");
      CHECK((!walks || is("NOT INDEXED WHERE rowid > ?") || is("rowid BETWEEN ?1 AND ?2") ||
             is("ORDER BY rowid DESC") || counts));
      if (counts) CHECK_THAT(plan, ContainsSubstring("COVERING INDEX"));
      // The few that have failed are sorted by position.
      CHECK((!is("BETWEEN") || plan.find("(rowid>? AND rowid<?)") != std::string::npos));
      CHECK((!sorts || is("status IN ('FAILED', 'PROCESSING')")));
    }
  }
}

TEST_CASE("the cost of reading pending events does not grow with the backlog") {
  Outbox outbox;
  const auto instructions = [&](const std::string& part) {
    int steps = 0;
    for (auto* statement = sqlite3_next_stmt(outbox.database.handle().getHandle(), nullptr);
         statement != nullptr; statement = sqlite3_next_stmt(outbox.database.handle().getHandle(), statement))
      if (std::string{sqlite3_sql(statement)}.find(part) != std::string::npos)
        steps += sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    return steps;
  };
  const auto fill = [&](int count, const std::string& name) {
    sqlite::execute(
        outbox.folder / "a.db",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < " +
            std::to_string(count) +
            ") INSERT INTO outbox_event (id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
            "updatedAt) SELECT '" +
            name + "' || i, '" + name + "', 'User', 't', '{}', '', '' FROM n");
  };
  const auto read_pending = [&] {
    CHECK(outbox.pending(10).size() == 10);
    return instructions("NOT INDEXED WHERE rowid >");
  };
  const auto read_aggregate = [&] {
    CHECK(outbox.repository.read_aggregate({.aggregate_id = "few", .aggregate_type = "User", .after = {}}, 10)
              .size() == 10);
    return instructions("aggregateId = ?");
  };
  fill(20, "few");
  const auto pending_alone = read_pending();
  const auto aggregate_alone = read_aggregate();
  fill(20'000, "many");
  CHECK(read_pending() == pending_alone);
  CHECK(read_aggregate() == aggregate_alone);
}
