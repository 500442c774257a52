// What is SQLite's own about the outbox: positions, times of other writers, plans, the WAL.

#include "infrastructure/sqlite/sqlite_database.hpp"
#include "support/catch.hpp"
#include "support/sqlite_outbox_scene.hpp"

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

TEST_CASE("an event goes byte for byte into SQLite and out of it") {
  SqliteScene scene;
  DomainEvent event;
  event.data = {{"name", "Zoë \"Z\" O'Neil"}, {"long", std::string(20'000, 'x')}};
  event.metadata = {{"source", "auth-service"}};
  scene.outbox.database().transact(
      [&](Transaction& transaction) { scene.repository.add(transaction, event); });
  std::vector<OutboxEvent> read;
  scene.repository.read_pending(10, read);
  REQUIRE(read.size() == 1);
  CHECK(read[0].position == 1);
  CHECK(read[0].event_data == event.event_data());
  CHECK(scene.outbox.value(event.id, "createdAt").size() == std::string(some_time_text).size());
}

TEST_CASE("an outcome finds its row by id when VACUUM has given it another position") {
  SqliteScene scene;
  scene.add("e1");
  scene.add("e2");
  auto first = scene.outcome("e1", RowStatus::failed);
  auto second = scene.outcome("e2", RowStatus::published);
  scene.outbox.execute(
      "UPDATE outbox_event SET rowid = 50 WHERE id = 'e1'; UPDATE outbox_event SET rowid = 1 "
      "WHERE id = 'e2'");
  scene.write({first, second});
  CHECK(scene.value("e1", "status") == "FAILED");
  CHECK(scene.value("e2", "status") == "PUBLISHED");
}

TEST_CASE("published rows can be deleted instead of kept, and positions still only grow") {
  SqliteScene scene;
  std::int64_t last = 0;
  for (int i = 0; i < 20; ++i) {
    const auto id = std::to_string(i);
    scene.add(id);
    const auto position = scene.position(id).row;
    // A processor that reads past `last` would never see a row whose position had been used before.
    REQUIRE(position > last);
    last = position;
    scene.write({scene.outcome(id, RowStatus::published)}, true);
  }
  // Each was the newest when it was written back, so it was kept as PUBLISHED; cleanup takes all but the
  // last.
  CHECK(scene.pending().empty());
  CHECK(scene.clean_up(now() + 1h, 100).deleted == 19);
  CHECK(scene.all() == Ids{"19"});
  CHECK(scene.value("19", "status") == "PUBLISHED");
}

TEST_CASE("a published row that is not the newest is deleted at once, and a failed one is not") {
  SqliteScene scene;
  for (const auto* id : {"e1", "e2", "e3", "e4"}) scene.add(id);
  scene.write({scene.outcome("e1", RowStatus::published), scene.outcome("e2", RowStatus::failed),
               scene.outcome("e3", RowStatus::dead_letter)},
              true);
  CHECK(scene.all() == Ids{"e2", "e3", "e4"});
}

TEST_CASE("rows published in a row that VACUUM has given other positions are written by their ids") {
  SqliteScene scene;
  const bool deleting = GENERATE(false, true);
  CAPTURE(deleting);
  std::vector<Outcome> outcomes;
  for (int i = 100; i < 140; ++i) scene.add(std::to_string(i));
  for (int i = 100; i < 140; ++i) outcomes.push_back(scene.outcome(std::to_string(i), RowStatus::published));
  scene.outbox.execute("UPDATE outbox_event SET rowid = rowid + 1000");
  scene.add("later");
  scene.outbox.execute("UPDATE outbox_event SET rowid = 7 WHERE id = 'later'");
  scene.write(outcomes, deleting);
  CHECK(scene.outbox.column("SELECT id FROM outbox_event WHERE status = 'PENDING'") == Ids{"later"});
}

TEST_CASE("cleanup understands times as other writers of SQLite store them") {
  SqliteScene scene;
  const auto add = [&](const std::string& id, const std::string& created_at,
                       const std::string& published_at) {
    scene.add_changed(id,
                      "status = 'PUBLISHED', createdAt = " + created_at + ", publishedAt = " + published_at);
  };
  add("epoch early", "1767225600000", "1767225601000");
  add("epoch late", "1767225600000", "1767916800000");
  add("fraction early", "1767225500000.5", "1767225601000.5");
  add("plain early", "'2026-01-01 00:00:00'", "'2026-01-01 00:00:01'");
  add("plain late", "'2026-01-01 00:00:00'", "'2026-01-05 23:00:00'");
  add("newest", "'2026-01-01T00:00:00.000Z'", "'2026-01-01T00:00:01.000Z'");  // of the table: it stays
  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  int deleted = 0;
  for (bool more = true; more;) {
    const auto done = scene.clean_up(limit, 1);
    CHECK(done.deleted <= 1);
    deleted += done.deleted;
    more = done.more;
  }
  CHECK(deleted == 3);
  CHECK(scene.all() == Ids{"epoch late", "newest", "plain late"});
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
  const auto repository = database.outbox();
  std::vector<OutboxEvent> events;
  repository->read_pending(100, events);
  REQUIRE(Scene::ids(events) == Ids{"nulls", "blob", "created"});
  CHECK(events[0].event_data.empty());
  CHECK_FALSE(events[0].occurred_at);
  CHECK(events[0].event_version == 1);
  CHECK(events[1].aggregate_id == "12");
  CHECK(events[1].aggregate_type == "A");
  CHECK(events[1].event_data == "{\"a\":1}");
  CHECK(events[1].defect == "eventVersion: two is not a whole number from 0 to 2147483647");
  CHECK(events[1].retry_count == 0);
  CHECK(events[1].occurred_at == some_time);
  CHECK(events[1].updated_at == some_time);
  CHECK_FALSE(events[2].occurred_at);
  CHECK(repository->read_retries({}, 10).size() == 1);
  CHECK_FALSE(repository->oldest_pending());  // its createdAt is NULL
  CHECK(repository->list({}, 100).size() == 6);
  CHECK(repository->find("odd")->event.status == RowStatus::dead_letter);  // not ours to touch
  CHECK(repository->find("none")->event.status == RowStatus::dead_letter);
  CHECK(repository->find("odd")->status == "ARCHIVED");
  database.transact([&](Transaction& transaction) {
    write_outcomes(transaction,
                   {{.position = events[0].position, .id = "nulls", .error = {}, .at = some_time}}, false);
    CHECK(repository->cleanup(transaction, now(), 10).deleted == 0);
  });
  CHECK(repository->find("nulls")->published_at == some_time_text);
}

TEST_CASE("nothing that was read keeps the WAL from being checkpointed") {
  SqliteScene scene;
  for (const auto* id : {"e1", "e2", "e3"}) scene.add(id);
  scene.write({scene.outcome("e1", RowStatus::published), scene.outcome("e2", RowStatus::failed)});
  REQUIRE(scene.can_be_checkpointed());
  CHECK(scene.pending(1).size() == 1);
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.repository.read_aggregate({.aggregate_id = "a", .aggregate_type = "User", .after = {}}, 1)
            .size() == 1);
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.repository.read_retries({}, 1).size() == 1);
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.repository.count_pending() == 1);
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.repository.stats(10).oldest_pending);
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.repository.list({}, 1).size() == 1);
  CHECK(scene.repository.list(RowStatus::failed, 1).size() == 1);
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.repository.find("e1"));
  CHECK(scene.can_be_checkpointed());
  CHECK(scene.clean_up(now() + 1h, 1).deleted == 1);
  CHECK(scene.can_be_checkpointed());
  scene.write({scene.outcome("e3", RowStatus::published)}, true);
  CHECK(scene.can_be_checkpointed());
  CHECK_THROWS_AS(scene.add("e3"), DatabaseError);
  CHECK(scene.can_be_checkpointed());
}
