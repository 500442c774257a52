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
