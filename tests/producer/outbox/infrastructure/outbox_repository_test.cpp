// What holds for the outbox in SQLite and in PostgreSQL alike.

#include "support/catch.hpp"
#include "support/outbox_scene.hpp"

using namespace tidings;
using namespace tidings::test;

TEST_CASE("an event is read as it was added", "[engines]") {
  Scene scene{engine_under_test()};
  DomainEvent event;
  event.aggregate_id = "Zoë O'Neil";
  event.aggregate_type = "User";
  event.event_type = "user.created";
  event.event_version = 7;
  event.occurred_at = some_time;
  event.data = {{"name", "Zoë \"Z\" O'Neil"}, {"big", std::string(20'000, 'x')}};
  event.metadata = {{"source", "auth-service"}};
  const auto before = now();
  scene.outbox.database().transact(
      [&](Transaction& transaction) { scene.repository.add(transaction, event); });

  std::vector<OutboxEvent> read;
  scene.repository.read_pending(10, read);
  REQUIRE(read.size() == 1);
  CHECK(read[0].position == scene.position(event.id));
  CHECK(read[0].id == event.id);
  CHECK(read[0].aggregate_id == event.aggregate_id);
  CHECK(read[0].aggregate_type == "User");
  CHECK(read[0].event_type == "user.created");
  CHECK(read[0].event_version == 7);
  CHECK(nlohmann::json::parse(read[0].event_data) == nlohmann::json::parse(event.event_data()));
  CHECK(read[0].occurred_at == some_time);
  CHECK(read[0].retry_count == 0);
  CHECK(read[0].status == RowStatus::pending);
  CHECK((read[0].updated_at >= before && read[0].updated_at <= now()));
  CHECK(scene.value(event.id, "occurredAt") == some_time_text);
  CHECK(scene.value(event.id, "createdAt") == scene.value(event.id, "updatedAt"));
  CHECK(scene.value(event.id, "processedAt") == "NULL");
  CHECK(scene.value(event.id, "publishedAt") == "NULL");
  CHECK(scene.value(event.id, "lastError") == "NULL");
}

TEST_CASE("an event is gone with the transaction that it was added in", "[engines]") {
  Scene scene{engine_under_test()};
  CHECK_THROWS_AS(scene.outbox.database().transact([&](Transaction& transaction) {
    scene.repository.add(transaction, {});
    throw std::runtime_error("changed my mind");
  }),
                  std::runtime_error);
  CHECK(scene.all().empty());
}

TEST_CASE("an event cannot be added outside of the transaction it belongs to", "[engines]") {
  Scene scene{engine_under_test()};
  const auto other = Database::open(scene.outbox.url());
  other->transact([&](Transaction& transaction) {
    CHECK_THAT(error_of<DatabaseError>([&] { scene.repository.add(transaction, {}); }),
               ContainsSubstring("than its repository"));
  });
  CHECK(scene.all().empty());
}

TEST_CASE("the same event id is refused the second time, and trying again does not help", "[engines]") {
  Scene scene{engine_under_test()};
  scene.add("e1");
  try {
    scene.add("e1");
    FAIL("no error");
  } catch (const DatabaseError& error) {
    CHECK_FALSE(error.retryable());
  }
  scene.add("e2");
  CHECK(scene.pending() == Ids{"e1", "e2"});
}

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

TEST_CASE("large eventData is left out, and read for one event when it is asked for", "[engines]") {
  Scene scene{engine_under_test()};
  const auto add = [&](const std::string& id, std::size_t size) {
    DomainEvent event;
    event.id = id;
    event.aggregate_id = "a";
    event.aggregate_type = "User";
    event.data = std::string(size, 'x');
    scene.outbox.database().transact(
        [&](Transaction& transaction) { scene.repository.add(transaction, event); });
  };
  add("1", 20'000);
  add("2", 1'000'000);
  std::vector<OutboxEvent> read;
  scene.repository.read_pending(10, read);
  REQUIRE(Scene::ids(read) == Ids{"1", "2"});
  CHECK(read[0].data_is_read);
  CHECK(read[0].event_data.size() > 20'000);
  CHECK_FALSE(read[1].data_is_read);
  CHECK(read[1].event_data.empty());
  auto& large = read[1];
  CHECK(scene.repository.read_data(large, 1'000'000) > 1'000'000);
  CHECK(large.event_data.empty());
  const auto bytes = scene.repository.read_data(large, 1'001'000);
  CHECK(bytes == static_cast<std::int64_t>(large.event_data.size()));
  CHECK_THAT(large.event_data, ContainsSubstring(std::string(1'000'000, 'x')));
  const auto aggregate =
      scene.repository.read_aggregate({.aggregate_id = "a", .aggregate_type = "User", .after = {}}, 10);
  REQUIRE(Scene::ids(aggregate) == Ids{"1", "2"});
  CHECK_FALSE(aggregate[1].data_is_read);
  CHECK(scene.repository.list({}, 10).at(0).event.event_data.empty());
  scene.outbox.execute("DELETE FROM outbox_event WHERE id = '2'");
  CHECK_FALSE(scene.repository.read_data(large, 1'001'000));
}

TEST_CASE("pending events are read in commit order, whoever wrote them and whatever they are called",
          "[engines]") {
  Scene scene{engine_under_test()};
  const auto other = Database::open(scene.outbox.url());
  const auto others = other->outbox();
  Ids written;
  for (int i = 0; i < 40; ++i) {
    DomainEvent event;
    event.id = std::to_string((i * 17) % 40);
    auto& database = i % 3 == 0 ? *other : scene.outbox.database();
    auto& repository = i % 3 == 0 ? *others : scene.repository;
    database.transact([&](Transaction& transaction) { repository.add(transaction, event); });
    written.push_back(event.id);
  }
  CHECK(scene.pending() == written);

  Ids paged;
  scene.repository.rewind();
  for (auto page = scene.next_pending(7); !page.empty(); page = scene.next_pending(7)) {
    CHECK(page.size() <= 7);
    paged.insert(paged.end(), page.begin(), page.end());
  }
  CHECK(paged == written);
}

TEST_CASE("what was read is not read again, and what is committed later is", "[engines]") {
  Scene scene{engine_under_test()};
  scene.add("e1");
  CHECK(scene.pending() == Ids{"e1"});
  CHECK(scene.next_pending().empty());
  scene.add("e2");
  scene.add("e3");
  CHECK(scene.next_pending(1) == Ids{"e2"});
  scene.add("e4");
  CHECK(scene.next_pending(1) == Ids{"e3"});
  CHECK(scene.next_pending(1) == Ids{"e4"});
  CHECK(scene.next_pending(1).empty());
  CHECK(scene.pending() == Ids{"e1", "e2", "e3", "e4"});
}

TEST_CASE("only pending events are read as pending", "[engines]") {
  Scene scene{engine_under_test()};
  for (const auto* status : {"PENDING", "PROCESSING", "PUBLISHED", "FAILED", "DEAD_LETTER"})
    scene.add_changed(status, "status = '" + std::string(status) + "'");
  CHECK(scene.pending() == Ids{"PENDING"});
  CHECK(scene.repository.count_pending() == 1);
}

TEST_CASE("rewinding says whether anything is pending", "[engines]") {
  Scene scene{engine_under_test()};
  CHECK_FALSE(scene.repository.rewind());
  CHECK(scene.repository.count_pending() == 0);
  for (const auto* id : {"e1", "e2", "e3"}) scene.add(id);
  scene.write({scene.outcome("e1", RowStatus::published)});
  CHECK(scene.repository.rewind());
  CHECK(scene.repository.count_pending() == 2);
  CHECK(scene.next_pending(1) == Ids{"e2"});
}

TEST_CASE("the events of one aggregate are read in order, without the settled ones and others'",
          "[engines]") {
  Scene scene{engine_under_test()};
  for (const auto* id : {"e1", "e2", "e3", "e4", "e5", "e6"}) scene.add(id, "a");
  scene.add("other aggregate", "b");
  scene.add("other type", "a", "Team");
  scene.write({scene.outcome("e1", RowStatus::published), scene.outcome("e2", RowStatus::failed),
               scene.outcome("e3", RowStatus::dead_letter), scene.outcome("e4", RowStatus::processing)});
  REQUIRE(scene.pending().size() == 4);
  const auto read = [&](const OutboxPosition& after, bool with_first, int limit) {
    return Scene::ids(scene.repository.read_aggregate(
        {.aggregate_id = "a", .aggregate_type = "User", .after = after, .with_first = with_first}, limit));
  };
  CHECK(read({}, false, 1000) == Ids{"e2", "e4", "e5", "e6"});
  CHECK(read(scene.position("e2"), false, 1000) == Ids{"e4", "e5", "e6"});
  CHECK(read(scene.position("e2"), true, 1) == Ids{"e2"});
  CHECK(read({}, false, 2) == Ids{"e2", "e4"});
  const auto first = scene.repository.read_aggregate(
      {.aggregate_id = "a", .aggregate_type = "User", .after = {}, .with_first = false}, 1);
  CHECK(nlohmann::json::parse(first.at(0).event_data) ==
        nlohmann::json::parse(R"({"data":{},"metadata":{}})"));
}

TEST_CASE("what is to be tried again is read in order and in pages, without payloads", "[engines]") {
  Scene scene{engine_under_test()};
  Ids expected, read;
  for (int i = 0; i < 30; ++i) {
    const auto id = std::to_string(100 + i);
    scene.add_changed(id, "status = '" +
                              std::string(i % 3 == 0   ? "FAILED"
                                          : i % 3 == 1 ? "PROCESSING"
                                                       : "PENDING") +
                              "', retryCount = 2");
    if (i % 3 != 2) expected.push_back(id);
  }
  for (OutboxPosition after;;) {
    const auto page = scene.repository.read_retries(after, 7);
    if (page.empty()) break;
    CHECK(page.size() <= 7);
    for (const auto& event : page) {
      read.push_back(event.id);
      CHECK(event.event_data.empty());
      CHECK(event.retry_count == 2);
      CHECK(event.status == (std::stoi(event.id) % 3 == 100 % 3 ? RowStatus::failed : RowStatus::processing));
    }
    after = page.back().position;
  }
  CHECK(read == expected);
}

TEST_CASE("an outcome is written back with its times, count and error", "[engines]") {
  Scene scene{engine_under_test()};
  const std::string then = "2026-01-30T00:00:00.500Z";
  scene.add_changed("e1", "retryCount = 2, lastError = 'before', updatedAt = '" + then + "'");
  const auto written = [&](RowStatus status) {
    const int published = scene.write({scene.outcome("e1", status)});
    CHECK(published == (status == RowStatus::published ? 1 : 0));
    Ids values;
    for (const auto* name : {"status", "publishedAt", "processedAt", "updatedAt", "retryCount", "lastError"})
      values.push_back(scene.value("e1", name));
    return values;
  };
  const std::string at = some_time_text;
  SECTION("published") { CHECK(written(RowStatus::published) == Ids{"PUBLISHED", at, at, at, "2", "NULL"}); }
  SECTION("failed") { CHECK(written(RowStatus::failed) == Ids{"FAILED", "NULL", "NULL", at, "3", "no"}); }
  SECTION("dead letter") {
    CHECK(written(RowStatus::dead_letter) == Ids{"DEAD_LETTER", "NULL", at, at, "3", "no"});
  }
  SECTION("processing keeps the time of the last attempt, from which backoff is counted") {
    CHECK(written(RowStatus::processing) == Ids{"PROCESSING", "NULL", "NULL", then, "2", "before"});
  }
}

TEST_CASE("an outcome changes its own row only", "[engines]") {
  Scene scene{engine_under_test()};
  for (const auto* id : {"e1", "e2 {\"odd\\\",NULL}", "e3"}) scene.add(id);
  scene.write({scene.outcome("e2 {\"odd\\\",NULL}", RowStatus::published)});
  CHECK(scene.pending() == Ids{"e1", "e3"});
}

TEST_CASE("an outcome leaves a row alone that is settled or gone", "[engines]") {
  Scene scene{engine_under_test()};
  for (const auto* status : {"PUBLISHED", "DEAD_LETTER"}) {
    scene.add_changed(status, "status = '" + std::string(status) + "'");
    for (const auto outcome :
         {RowStatus::published, RowStatus::failed, RowStatus::dead_letter, RowStatus::processing}) {
      CHECK(scene.write({scene.outcome(status, outcome)}) == 0);
      CHECK(scene.write({scene.outcome(status, outcome)}, true) == 0);
      CHECK(scene.value(status, "status") == status);
      CHECK(scene.value(status, "lastError") == "NULL");
    }
  }
  scene.write({{.position = 77, .id = "gone", .status = RowStatus::published, .error = {}, .at = some_time}});
  CHECK(scene.all() == Ids{"DEAD_LETTER", "PUBLISHED"});
}

TEST_CASE("many events published in a row are written together as each would be by itself", "[engines]") {
  Scene scene{engine_under_test()};
  const bool deleting = GENERATE(false, true);
  CAPTURE(deleting);
  // SQLite keeps the newest row, whose position must not be given out again.
  const bool keeps_newest = deleting && scene.engine == Engine::sqlite;
  std::vector<Outcome> outcomes;
  for (int i = 100; i < 140; ++i) scene.add(std::to_string(i));
  for (int i = 100; i < 140; ++i) outcomes.push_back(scene.outcome(std::to_string(i), RowStatus::published));
  const auto left = [&](const std::string& status) {
    return scene.outbox.column("SELECT id FROM outbox_event WHERE status = '" + status + "' ORDER BY id");
  };

  SECTION("all were pending") {
    CHECK(scene.write(outcomes, deleting) == (keeps_newest ? 1 : deleting ? 0 : 40));
    CHECK(left("PENDING").empty());
    CHECK(left("PUBLISHED").size() == (keeps_newest ? 1 : deleting ? 0 : 40));
    if (!deleting) CHECK(scene.value("139", "publishedAt") == some_time_text);
  }
  SECTION("not all of them were confirmed") {
    outcomes.erase(outcomes.begin() + 20);
    outcomes.pop_back();
    scene.write(outcomes, deleting);
    CHECK(left("PENDING") == Ids{"120", "139"});
    CHECK(left("PUBLISHED").size() == (deleting ? 0 : 38));
  }
  SECTION("some were retries") {
    scene.outbox.execute("UPDATE outbox_event SET status = 'PROCESSING' WHERE id = '110'");
    scene.outbox.execute("UPDATE outbox_event SET status = 'FAILED', lastError = 'no' WHERE id = '120'");
    scene.write(outcomes, deleting);
    CHECK(left("PROCESSING").empty());
    CHECK(left("FAILED").empty());
    CHECK(left("PUBLISHED").size() == (keeps_newest ? 1 : deleting ? 0 : 40));
    if (!deleting) CHECK(scene.value("120", "lastError") == "NULL");
  }
  SECTION("some were settled or deleted meanwhile") {
    scene.outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER' WHERE id = '110'");
    scene.outbox.execute("DELETE FROM outbox_event WHERE id = '120'");
    scene.write(outcomes, deleting);
    CHECK(left("DEAD_LETTER") == Ids{"110"});
    CHECK(left("PENDING").empty());
  }
  SECTION("some failed in between") {
    outcomes[15].status = RowStatus::failed;
    scene.write(outcomes, deleting);
    CHECK(left("FAILED") == Ids{"115"});
    CHECK(left("PENDING").empty());
  }
}

TEST_CASE("an outcome is undone with its transaction", "[engines]") {
  Scene scene{engine_under_test()};
  scene.add("e1");
  CHECK_THROWS_AS(scene.outbox.database().transact([&](Transaction& transaction) {
    write_outcomes(transaction, {scene.outcome("e1", RowStatus::published)}, false);
    throw std::runtime_error("lease lost");
  }),
                  std::runtime_error);
  CHECK(scene.pending() == Ids{"e1"});
}

TEST_CASE("an error is cut to 1000 bytes, between two characters", "[engines]") {
  Scene scene{engine_under_test()};
  scene.add("e1");
  const auto stored = [&](const std::string& error) {
    auto failed = scene.outcome("e1", RowStatus::failed);
    failed.error = error;
    scene.write({failed});
    return scene.repository.find("e1").value().last_error;
  };
  CHECK(stored(std::string(1000, 'x')) == std::string(1000, 'x'));
  CHECK(stored(std::string(5000, 'x')) == std::string(1000, 'x'));
  const std::string smile = "\xf0\x9f\x99\x82";
  for (std::size_t before = 996; before <= 1000; ++before)
    CHECK(stored(std::string(before, 'x') + smile + smile) ==
          std::string(before, 'x') + (before == 996 ? smile : ""));
  CHECK_FALSE(stored(std::string(2000, '\x80')).empty());  // not UTF-8 at all
}

TEST_CASE("cleanup deletes what was published before the limit, and nothing else", "[engines]") {
  Scene scene{engine_under_test()};
  const std::string old = "createdAt = '2026-01-01T00:00:00.000Z', updatedAt = '2026-01-01T00:00:00.000Z', ";
  const std::string early = "publishedAt = '2026-01-01T00:00:01.000Z'",
                    late = "publishedAt = '2026-01-09T00:00:00.000Z'";
  scene.add_changed("published early", old + "status = 'PUBLISHED', " + early);
  scene.add_changed("published late", old + "status = 'PUBLISHED', " + late);
  scene.add_changed("dead", old + "status = 'DEAD_LETTER', processedAt = '2026-01-01T00:00:01.000Z'");
  scene.add_changed("failed", old + "status = 'FAILED'");
  scene.add_changed("processing", old + "status = 'PROCESSING'");
  scene.add_changed("pending", old + "status = 'PENDING'");
  scene.add_changed("unsaid early", old + "status = 'PUBLISHED'");  // as a foreign writer may leave it
  scene.add_changed("early too", old + "status = 'PUBLISHED', " + early);
  scene.add("newest", "z");

  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  int deleted = 0;
  for (bool more = true; more;) {
    const auto done = scene.clean_up(limit, 1);
    CHECK(done.deleted <= 1);
    deleted += done.deleted;
    more = done.more;
  }
  CHECK(deleted == 3);
  CHECK(scene.all() == Ids{"dead", "failed", "newest", "pending", "processing", "published late"});
  CHECK(scene.clean_up(limit, 100).deleted == 0);
}

TEST_CASE("cleanup goes on past rows that were published late, a few at a time", "[engines]") {
  Scene scene{engine_under_test()};
  // After a long outage: created long ago, published just now; and behind them one that may go.
  for (int i = 0; i < 300; ++i) scene.add("late " + std::to_string(i));
  scene.outbox.execute(
      "UPDATE outbox_event SET status = 'PUBLISHED', createdAt = '2026-01-01T00:00:00.000Z', publishedAt = "
      "'2026-01-09T00:00:00.000Z'");
  scene.add_changed("early",
                    "status = 'PUBLISHED', createdAt = '2026-01-02T00:00:00.000Z', publishedAt = "
                    "'2026-01-02T00:00:00.000Z'");
  scene.add("newest", "z");
  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  for (int pass = 1; pass <= 2; ++pass) {
    int calls = 0, deleted = 0;
    for (bool more = true; more; ++calls) {
      REQUIRE(calls < 100);
      const auto done = scene.clean_up(limit, 3);
      deleted += done.deleted;
      more = done.more;
    }
    CHECK(deleted == (pass == 1 ? 1 : 0));
    CHECK((calls == 11 || calls == 10));  // 30 rows examined a call
  }
}

TEST_CASE("cleanup that was rolled back is done by the next pass", "[engines]") {
  Scene scene{engine_under_test()};
  for (int i = 0; i < 10; ++i)
    scene.add_changed(std::to_string(i),
                      "status = 'PUBLISHED', createdAt = '2026-01-01T00:00:00Z', publishedAt = "
                      "'2026-01-01T00:00:00Z'");
  scene.add("newest", "z");
  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  CHECK_THROWS_AS(scene.outbox.database().transact([&](Transaction& transaction) {
    CHECK(scene.repository.cleanup(transaction, limit, 4).deleted == 4);
    throw std::runtime_error("lease lost");
  }),
                  std::runtime_error);
  while (scene.clean_up(limit, 4).more) {
  }
  while (scene.clean_up(limit, 4).more) {
  }
  CHECK(scene.all() == Ids{"newest"});
}

TEST_CASE("stats count each status and name the oldest pending event", "[engines]") {
  Scene scene{engine_under_test()};
  CHECK_FALSE(scene.repository.stats().oldest_pending);
  int count = 0;
  for (const auto* status : {"PENDING", "PROCESSING", "PUBLISHED", "FAILED", "DEAD_LETTER"}) {
    ++count;
    for (int i = 0; i < count; ++i)
      scene.add_changed(status + std::to_string(i),
                        "status = '" + std::string(status) + "', retryCount = 1, lastError = 'no'");
  }
  scene.add_changed("old", "createdAt = '" + std::string(some_time_text) + "'");
  const auto stats = scene.repository.stats(4);
  CHECK(stats.pending == 2);
  CHECK(stats.processing == 2);
  CHECK(stats.published == 3);
  CHECK(stats.failed == 4);
  CHECK(stats.dead_letter == 5);
  CHECK(stats.oldest_pending == some_time);
  CHECK(stats.blocked_aggregates == 6);
  REQUIRE(stats.blocked.size() == 4);
  CHECK(stats.blocked[0].event_id == "PROCESSING0");
  CHECK(stats.blocked[0].aggregate_id == "PROCESSING0");
  CHECK(stats.blocked[0].aggregate_type == "User");
  CHECK(stats.blocked[0].retry_count == 1);
  CHECK(stats.blocked[0].last_error == "no");
}

TEST_CASE("rows are listed newest first, of all statuses or one, with their error", "[engines]") {
  Scene scene{engine_under_test()};
  for (const auto* id : {"e1", "e2", "e3", "e4"}) scene.add(id);
  scene.write({scene.outcome("e1", RowStatus::dead_letter), scene.outcome("e3", RowStatus::dead_letter)});
  const auto listed = [&](std::optional<RowStatus> status, int limit) {
    Ids ids;
    for (const auto& row : scene.repository.list(status, limit)) ids.push_back(row.event.id);
    return ids;
  };
  CHECK(listed({}, 10) == Ids{"e4", "e3", "e2", "e1"});
  CHECK(listed({}, 2) == Ids{"e4", "e3"});
  CHECK(listed(RowStatus::dead_letter, 10) == Ids{"e3", "e1"});
  CHECK(listed(RowStatus::failed, 10).empty());

  const auto row = scene.repository.find("e1").value();
  CHECK(row.event.status == RowStatus::dead_letter);
  CHECK(row.event.retry_count == 3);
  CHECK(row.last_error == "no");
  CHECK(row.processed_at == some_time_text);
  CHECK(row.published_at.empty());
  CHECK(row.created_at == scene.value("e1", "createdAt"));
  CHECK_FALSE(scene.repository.find("e9"));
}
