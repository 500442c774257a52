#include "infrastructure/outbox_repository.hpp"

#include "infrastructure/outbox_marks.hpp"
#include "infrastructure/outbox_stats.hpp"
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
  Database database{folder / "a.db", Database::Open::create};
  OutboxRepository repository = [this] {
    database.migrate();
    return OutboxRepository{database};
  }();
  OutboxMarks marks{database};

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

  int mark(const std::vector<OutboxMark>& outcomes, bool delete_published = false) {
    int published = 0;
    database.transact(
        [&](Transaction& transaction) { published = marks.write(transaction, outcomes, delete_published); });
    return published;
  }

  OutboxRepository::Cleanup clean_up(Timestamp before, int limit) {
    OutboxRepository::Cleanup done;
    database.transact(
        [&](Transaction& transaction) { done = repository.cleanup(transaction, before, limit); });
    return done;
  }

  std::vector<std::string> pending(std::int64_t after = 0, int limit = 1000) {
    std::vector<OutboxEvent> events;
    repository.read_pending(after, limit, events);
    return ids(events);
  }

  static std::vector<std::string> ids(const std::vector<OutboxEvent>& events) {
    std::vector<std::string> all;
    for (const auto& event : events) all.push_back(event.id);
    return all;
  }

  std::int64_t position(const std::string& id) { return repository.find(id).value().event.position; }

  OutboxMark outcome(const std::string& id, OutboxStatus status) {
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
    Database other{folder / "a.db"};
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

TEST_CASE("an event is read as it was added") {
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
  outbox.repository.read_pending(0, 10, read);
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
  CHECK(read[0].status == OutboxStatus::pending);
  CHECK((read[0].updated_at >= before && read[0].updated_at <= now()));
  CHECK(outbox.value(event.id, "occurredAt") == some_time_text);
  CHECK(outbox.value(event.id, "createdAt") == outbox.value(event.id, "updatedAt"));
  CHECK(outbox.value(event.id, "createdAt").size() == std::string(some_time_text).size());
  CHECK(outbox.value(event.id, "processedAt") == "NULL");
  CHECK(outbox.value(event.id, "publishedAt") == "NULL");
  CHECK(outbox.value(event.id, "lastError") == "NULL");
}

TEST_CASE("an event is gone with the transaction that it was added in") {
  Outbox outbox;
  CHECK_THROWS_AS(outbox.database.transact([&](Transaction& transaction) {
    outbox.repository.add(transaction, {});
    throw std::runtime_error("changed my mind");
  }),
                  std::runtime_error);
  CHECK(outbox.all().empty());
}

TEST_CASE("an event cannot be added outside of the transaction it belongs to") {
  Outbox outbox;
  Database other{outbox.folder / "a.db"};
  other.transact([&](Transaction& transaction) {
    CHECK_THAT(error_of<DatabaseError>([&] { outbox.repository.add(transaction, {}); }),
               ContainsSubstring("than its repository"));
  });
  CHECK(outbox.all().empty());
}

TEST_CASE("the same event id is refused the second time, and trying again does not help") {
  Outbox outbox;
  outbox.add("e1");
  try {
    outbox.add("e1");
    FAIL("no error");
  } catch (const DatabaseError& error) {
    CHECK_FALSE(error.retryable());
  }
  outbox.add("e2");
  CHECK(outbox.pending() == Ids{"e1", "e2"});
}

TEST_CASE("a repository on a database without tables says which command makes them") {
  const TempDir folder;
  Database database{folder / "a.db", Database::Open::create};
  CHECK_THAT(error_of<DatabaseError>([&] { const OutboxRepository repository{database}; }),
             ContainsSubstring("run `auth-service migrate`"));
}

TEST_CASE("pending events are read in commit order, whoever wrote them and whatever they are called") {
  Outbox outbox;
  Database other{outbox.folder / "a.db"};
  OutboxRepository others{other};
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
  for (std::int64_t after = 0;; after = page.back().position) {
    outbox.repository.read_pending(after, 7, page);
    if (page.empty()) break;
    CHECK(page.size() <= 7);
    for (const auto& id : Outbox::ids(page)) paged.push_back(id);
  }
  CHECK(paged == written);
}

TEST_CASE("only pending events are read as pending") {
  Outbox outbox;
  for (const auto* status : {"PENDING", "PROCESSING", "PUBLISHED", "FAILED", "DEAD_LETTER"})
    outbox.add_changed(status, "status = '" + std::string(status) + "'");
  CHECK(outbox.pending() == Ids{"PENDING"});
  CHECK(outbox.repository.pending_range().count == 1);
}

TEST_CASE("the pending range begins at the oldest pending event") {
  Outbox outbox;
  CHECK(outbox.repository.pending_range().count == 0);
  CHECK(outbox.repository.pending_range().first == 0);
  for (const auto* id : {"e1", "e2", "e3"}) outbox.add(id);
  outbox.mark({outbox.outcome("e1", OutboxStatus::published)});
  CHECK(outbox.repository.pending_range().count == 2);
  CHECK(outbox.repository.pending_range().first == outbox.position("e2"));
}

TEST_CASE("the events of one aggregate are read in order, without the settled ones and others'") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3", "e4", "e5", "e6"}) outbox.add(id, "a");
  outbox.add("other aggregate", "b");
  outbox.add("other type", "a", "Team");
  outbox.mark({outbox.outcome("e1", OutboxStatus::published), outbox.outcome("e2", OutboxStatus::failed),
               outbox.outcome("e3", OutboxStatus::dead_letter),
               outbox.outcome("e4", OutboxStatus::processing)});
  const auto read = [&](std::int64_t after, std::int64_t last, int limit) {
    return Outbox::ids(outbox.repository.read_aggregate("a", "User", after, last, limit));
  };
  CHECK(read(0, 1000, 1000) == Ids{"e2", "e4", "e5", "e6"});
  CHECK(read(outbox.position("e2"), outbox.position("e5"), 1000) == Ids{"e4", "e5"});
  CHECK(read(0, 1000, 2) == Ids{"e2", "e4"});
  CHECK(outbox.repository.read_aggregate("a", "User", 0, 1000, 1)[0].event_data ==
        "{\"data\":{},\"metadata\":{}}");
}

TEST_CASE("what is to be tried again is read in order and in pages, without payloads") {
  Outbox outbox;
  for (int i = 0; i < 30; ++i) {
    const auto id = std::to_string(100 + i);
    // Created in the opposite order, which is the order of the index.
    outbox.add_changed(id, "createdAt = '2026-01-01T00:00:" + std::to_string(59 - i) + ".000Z', status = '" +
                               std::string(i % 3 == 0   ? "FAILED"
                                           : i % 3 == 1 ? "PROCESSING"
                                                        : "PENDING") +
                               "', retryCount = 2");
  }
  Ids expected, read;
  for (int i = 0; i < 30; ++i)
    if (i % 3 != 2) expected.push_back(std::to_string(100 + i));
  for (std::int64_t after = 0;;) {
    const auto page = outbox.repository.read_retries(after, 7);
    if (page.empty()) break;
    CHECK(page.size() <= 7);
    for (const auto& event : page) {
      read.push_back(event.id);
      CHECK(event.event_data.empty());
      CHECK(event.retry_count == 2);
      CHECK(event.status ==
            (std::stoi(event.id) % 3 == 100 % 3 ? OutboxStatus::failed : OutboxStatus::processing));
    }
    after = page.back().position;
  }
  CHECK(read == expected);
}

TEST_CASE("an outcome is written back with its times, count and error") {
  Outbox outbox;
  outbox.add_changed("e1", "retryCount = 2, lastError = 'before', updatedAt = 'then'");
  const auto written = [&](OutboxStatus status) {
    outbox.mark({outbox.outcome("e1", status)});
    Ids values;
    for (const auto* name : {"status", "publishedAt", "processedAt", "updatedAt", "retryCount", "lastError"})
      values.push_back(outbox.value("e1", name));
    return values;
  };
  const std::string at = some_time_text;
  SECTION("published") {
    CHECK(written(OutboxStatus::published) == Ids{"PUBLISHED", at, at, at, "2", "NULL"});
  }
  SECTION("failed") { CHECK(written(OutboxStatus::failed) == Ids{"FAILED", "NULL", "NULL", at, "3", "no"}); }
  SECTION("dead letter") {
    CHECK(written(OutboxStatus::dead_letter) == Ids{"DEAD_LETTER", "NULL", at, at, "3", "no"});
  }
  SECTION("processing keeps the time of the last attempt, from which backoff is counted") {
    CHECK(written(OutboxStatus::processing) == Ids{"PROCESSING", "NULL", "NULL", "then", "2", "before"});
  }
  SECTION("pending again") {
    CHECK(written(OutboxStatus::pending) == Ids{"PENDING", "NULL", "NULL", at, "2", "before"});
  }
}

TEST_CASE("a mark changes its own row only") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3"}) outbox.add(id);
  outbox.mark({outbox.outcome("e2", OutboxStatus::published)});
  CHECK(outbox.pending() == Ids{"e1", "e3"});
}

TEST_CASE("a mark leaves a row alone that is settled or gone") {
  Outbox outbox;
  for (const auto* status : {"PUBLISHED", "DEAD_LETTER"}) {
    outbox.add_changed(status, "status = '" + std::string(status) + "'");
    for (const auto outcome : {OutboxStatus::published, OutboxStatus::failed, OutboxStatus::dead_letter,
                               OutboxStatus::processing, OutboxStatus::pending}) {
      outbox.mark({outbox.outcome(status, outcome)});
      outbox.mark({outbox.outcome(status, outcome)}, true);
      CHECK(outbox.value(status, "status") == status);
      CHECK(outbox.value(status, "lastError") == "NULL");
    }
  }
  outbox.mark(
      {{.position = 77, .id = "gone", .status = OutboxStatus::published, .error = {}, .at = some_time}});
  CHECK(outbox.all() == Ids{"DEAD_LETTER", "PUBLISHED"});
}

TEST_CASE("a mark finds its row by id when VACUUM has given it another position") {
  Outbox outbox;
  outbox.add("e1");
  outbox.add("e2");
  auto first = outbox.outcome("e1", OutboxStatus::failed);
  auto second = outbox.outcome("e2", OutboxStatus::published);
  sqlite::execute(outbox.folder / "a.db",
                  "UPDATE outbox_event SET rowid = 50 WHERE id = 'e1'; UPDATE outbox_event SET rowid = 1 "
                  "WHERE id = 'e2'");
  outbox.mark({first, second});
  CHECK(outbox.value("e1", "status") == "FAILED");
  CHECK(outbox.value("e2", "status") == "PUBLISHED");
}

TEST_CASE("a mark is undone with its transaction") {
  Outbox outbox;
  outbox.add("e1");
  CHECK_THROWS_AS(outbox.database.transact([&](Transaction& transaction) {
    outbox.marks.write(transaction, {outbox.outcome("e1", OutboxStatus::published)}, false);
    throw std::runtime_error("lease lost");
  }),
                  std::runtime_error);
  CHECK(outbox.pending() == Ids{"e1"});
}

TEST_CASE("published rows can be deleted instead of marked, and positions still only grow") {
  Outbox outbox;
  std::int64_t last = 0;
  for (int i = 0; i < 20; ++i) {
    const auto id = std::to_string(i);
    outbox.add(id);
    const auto position = outbox.position(id);
    // A processor that reads past `last` would never see a row whose position had been used before.
    REQUIRE(position > last);
    last = position;
    outbox.mark({outbox.outcome(id, OutboxStatus::published)}, true);
  }
  // Each was the newest when it was marked, so it could only be marked; cleanup takes all but the last.
  CHECK(outbox.pending().empty());
  CHECK(outbox.clean_up(now() + 1h, 100).deleted == 19);
  CHECK(outbox.all() == Ids{"19"});
  CHECK(outbox.value("19", "status") == "PUBLISHED");
}

TEST_CASE("a published row that is not the newest is deleted at once, and a failed one is not") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3", "e4"}) outbox.add(id);
  outbox.mark({outbox.outcome("e1", OutboxStatus::published), outbox.outcome("e2", OutboxStatus::failed),
               outbox.outcome("e3", OutboxStatus::dead_letter)},
              true);
  CHECK(outbox.all() == Ids{"e2", "e3", "e4"});
}

TEST_CASE("many events published in a row are marked together as each would be by itself") {
  const bool deleting = GENERATE(false, true);
  CAPTURE(deleting);
  Outbox outbox;
  std::vector<OutboxMark> marks;
  for (int i = 100; i < 140; ++i) outbox.add(std::to_string(i));
  for (int i = 100; i < 140; ++i) marks.push_back(outbox.outcome(std::to_string(i), OutboxStatus::published));
  const auto left = [&](const std::string& status) {
    return sqlite::column(outbox.folder / "a.db",
                          "SELECT id FROM outbox_event WHERE status = '" + status + "' ORDER BY id");
  };
  const auto change = [&](const std::string& statement) {
    sqlite::execute(outbox.folder / "a.db", statement);
  };

  SECTION("all were pending") {
    outbox.mark(marks, deleting);
    CHECK(left("PENDING").empty());
    CHECK(left("PUBLISHED").size() == (deleting ? 1 : 40));  // the newest stays
    CHECK(outbox.value("139", "publishedAt") == some_time_text);
  }
  SECTION("not all of them were confirmed") {
    marks.erase(marks.begin() + 20);
    marks.pop_back();
    outbox.mark(marks, deleting);
    CHECK(left("PENDING") == Ids{"120", "139"});
    CHECK(left("PUBLISHED").size() == (deleting ? 0 : 38));
  }
  SECTION("some were retries") {
    change("UPDATE outbox_event SET status = 'PROCESSING' WHERE id = '110'");
    change("UPDATE outbox_event SET status = 'FAILED', lastError = 'no' WHERE id = '120'");
    outbox.mark(marks, deleting);
    CHECK(left("PROCESSING").empty());
    CHECK(left("FAILED").empty());
    CHECK(left("PUBLISHED").size() == (deleting ? 1 : 40));
    if (!deleting) CHECK(outbox.value("120", "lastError") == "NULL");
  }
  SECTION("some were settled or deleted meanwhile") {
    change("UPDATE outbox_event SET status = 'DEAD_LETTER' WHERE id = '110'");
    change("DELETE FROM outbox_event WHERE id = '120'");
    outbox.mark(marks, deleting);
    CHECK(left("DEAD_LETTER") == Ids{"110"});
    CHECK(left("PENDING").empty());
  }
  SECTION("VACUUM has given them other positions") {
    change("UPDATE outbox_event SET rowid = rowid + 1000");
    outbox.add("later");
    change("UPDATE outbox_event SET rowid = 7 WHERE id = 'later'");
    outbox.mark(marks, deleting);
    CHECK(left("PENDING") == Ids{"later"});
  }
  SECTION("some failed in between") {
    marks[15].status = OutboxStatus::failed;
    outbox.mark(marks, deleting);
    CHECK(left("FAILED") == Ids{"115"});
    CHECK(left("PENDING").empty());
  }
}

TEST_CASE("an error is cut to 1000 bytes, between two characters") {
  Outbox outbox;
  outbox.add("e1");
  const auto stored = [&](const std::string& error) {
    auto mark = outbox.outcome("e1", OutboxStatus::failed);
    mark.error = error;
    outbox.mark({mark});
    return outbox.repository.find("e1").value().last_error;
  };
  CHECK(stored(std::string(1000, 'x')) == std::string(1000, 'x'));
  CHECK(stored(std::string(5000, 'x')) == std::string(1000, 'x'));
  const std::string smile = "\xf0\x9f\x99\x82";
  for (std::size_t before = 996; before <= 1000; ++before)
    CHECK(stored(std::string(before, 'x') + smile + smile) ==
          std::string(before, 'x') + (before == 996 ? smile : ""));
  CHECK(stored(std::string(2000, '\x80')).size() <= 1000);  // not UTF-8 at all
}

TEST_CASE("cleanup deletes what was published before the limit, and nothing else") {
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

TEST_CASE("cleanup goes on past rows that were published late, a few at a time") {
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
    CHECK(calls == 11);  // 100 looks a call
  }
}

TEST_CASE("cleanup that was rolled back is done by the next pass") {
  Outbox outbox;
  for (int i = 0; i < 10; ++i)
    outbox.add_changed(std::to_string(i),
                       "status = 'PUBLISHED', createdAt = '2026', publishedAt = '2026-01-01T00:00:00Z'");
  const auto limit = *parse_timestamp("2026-01-05T00:00:00Z");
  CHECK_THROWS_AS(outbox.database.transact([&](Transaction& transaction) {
    CHECK(outbox.repository.cleanup(transaction, limit, 4).deleted == 4);
    throw std::runtime_error("lease lost");
  }),
                  std::runtime_error);
  while (outbox.clean_up(limit, 4).more) {
  }
  while (outbox.clean_up(limit, 4).more) {
  }
  CHECK(outbox.all() == Ids{"9"});
}

TEST_CASE("stats count each status and name the oldest pending event") {
  Outbox outbox;
  CHECK_FALSE(read_stats(outbox.database).oldest_pending);
  int count = 0;
  for (const auto* status : {"PENDING", "PROCESSING", "PUBLISHED", "FAILED", "DEAD_LETTER", "ARCHIVED"}) {
    ++count;
    for (int i = 0; i < count; ++i)
      outbox.add_changed(status + std::to_string(i), "status = '" + std::string(status) + "'");
  }
  outbox.add_changed("old", "createdAt = '" + std::string(some_time_text) + "'");
  const auto stats = read_stats(outbox.database);
  CHECK(stats.pending == 2);
  CHECK(stats.processing == 2);
  CHECK(stats.published == 3);
  CHECK(stats.failed == 4);
  CHECK(stats.dead_letter == 5);
  CHECK(stats.oldest_pending == some_time);
}

TEST_CASE("rows are listed newest first, of all statuses or one, with their error") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3", "e4"}) outbox.add(id);
  outbox.mark(
      {outbox.outcome("e1", OutboxStatus::dead_letter), outbox.outcome("e3", OutboxStatus::dead_letter)});
  const auto listed = [&](std::optional<OutboxStatus> status, int limit) {
    Ids ids;
    for (const auto& row : outbox.repository.list(status, limit)) ids.push_back(row.event.id);
    return ids;
  };
  CHECK(listed({}, 10) == Ids{"e4", "e3", "e2", "e1"});
  CHECK(listed({}, 2) == Ids{"e4", "e3"});
  CHECK(listed(OutboxStatus::dead_letter, 10) == Ids{"e3", "e1"});
  CHECK(listed(OutboxStatus::failed, 10).empty());

  const auto row = outbox.repository.find("e1").value();
  CHECK(row.event.status == OutboxStatus::dead_letter);
  CHECK(row.event.retry_count == 3);
  CHECK(row.last_error == "no");
  CHECK(row.processed_at == some_time_text);
  CHECK(row.published_at.empty());
  CHECK(row.created_at == outbox.value("e1", "createdAt"));
  CHECK_FALSE(outbox.repository.find("e9"));
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
  Database database{folder / "a.db"};
  OutboxRepository repository{database};
  std::vector<OutboxEvent> events;
  repository.read_pending(0, 100, events);
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
  CHECK(repository.read_retries(0, 10).size() == 1);
  CHECK(repository.oldest_pending());
  CHECK(repository.list({}, 100).size() == 6);
  CHECK(repository.find("odd")->event.status == OutboxStatus::dead_letter);  // not ours to touch
  CHECK(repository.find("none")->event.status == OutboxStatus::dead_letter);
  database.transact([&](Transaction& transaction) {
    OutboxMarks{database}.write(
        transaction, {{.position = events[0].position, .id = "nulls", .error = {}, .at = some_time}}, false);
    CHECK(repository.cleanup(transaction, now(), 10).deleted == 0);
  });
  CHECK(repository.find("nulls")->published_at == some_time_text);
}

TEST_CASE("nothing that was read keeps the WAL from being checkpointed") {
  Outbox outbox;
  for (const auto* id : {"e1", "e2", "e3"}) outbox.add(id);
  outbox.mark({outbox.outcome("e1", OutboxStatus::published), outbox.outcome("e2", OutboxStatus::failed)});
  REQUIRE(outbox.can_be_checkpointed());
  CHECK(outbox.pending(0, 1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.read_aggregate("a", "User", 0, 100, 1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.read_retries(0, 1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.pending_range().count == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(read_stats(outbox.database).oldest_pending);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.list({}, 1).size() == 1);
  CHECK(outbox.repository.list(OutboxStatus::failed, 1).size() == 1);
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.repository.find("e1"));
  CHECK(outbox.can_be_checkpointed());
  CHECK(outbox.clean_up(now() + 1h, 1).deleted == 1);
  CHECK(outbox.can_be_checkpointed());
  outbox.mark({outbox.outcome("e3", OutboxStatus::published)}, true);
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
      // Pending rows are read and marked where they stand. What operators ask: counts come from the index
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
    CHECK(outbox.pending(outbox.repository.pending_range().first - 1, 10).size() == 10);
    return instructions("NOT INDEXED WHERE rowid >");
  };
  const auto read_aggregate = [&] {
    CHECK(outbox.repository.read_aggregate("few", "User", 0, 1'000'000, 10).size() == 10);
    return instructions("aggregateId = ?");
  };
  fill(20, "few");
  const auto pending_alone = read_pending();
  const auto aggregate_alone = read_aggregate();
  fill(20'000, "many");
  CHECK(read_pending() == pending_alone);
  CHECK(read_aggregate() == aggregate_alone);
}
