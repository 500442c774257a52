// What an outcome changes in its row, in SQLite and in PostgreSQL alike.

#include "support/catch.hpp"
#include "support/outbox_scene.hpp"

using namespace tidings;
using namespace tidings::test;

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
