// Which rows cleanup deletes, in SQLite and in PostgreSQL alike.

#include "support/catch.hpp"
#include "support/outbox_scene.hpp"

using namespace tidings;
using namespace tidings::test;

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
