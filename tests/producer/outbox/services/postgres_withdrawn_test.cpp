// What is taken from a relay while it works: a right, a column, the table, the database. It says what is
// missing, costs no CPU, and either goes on when that is back or ends with what to do.

#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <optional>
#include <string>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

namespace {

/// A relay of the login `relay`, which has published 10 events and is active.
struct Scene {
  Scene() {
    outbox.execute("CREATE ROLE relay LOGIN; GRANT ALL ON outbox_event, outbox_lease, outbox_state TO relay");
    outbox.add_many(10, 10);
    processor.emplace("postgresql://relay@127.0.0.1:" + std::to_string(outbox.server().port()) + "/postgres",
                      server.url(), quick_polling());
    REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 10);
  }

  [[nodiscard]] bool waits_for(const std::string& what) const {
    const auto status = processor->status();
    return status.phase == Phase::waiting_for_database &&
           status.waiting_because.find(what) != std::string::npos;
  }
  [[nodiscard]] bool goes_on() { return outbox.count("status <> 'PUBLISHED'") == 0 && processor->active(); }

  NatsServer server;
  Outbox outbox{Engine::postgres};
  std::optional<Processor> processor;
};

}  // namespace

TEST_CASE("a relay whose right to write is revoked names the GRANT, and goes on once it is given again") {
  Scene scene;
  const std::string right = GENERATE("SELECT", "UPDATE");
  const std::string table = GENERATE("outbox_state", "outbox_lease", "outbox_event");
  if (right == "SELECT" && table == "outbox_event") return;  // below: it ends, unless that is given soon
  CAPTURE(right, table);
  scene.outbox.execute("REVOKE " + right + " ON " + table + " FROM relay");
  scene.outbox.add_many(10, 10);
  REQUIRE_WITHIN(10s, scene.waits_for("permission denied for table " + table));
  CHECK(scene.waits_for("GRANT SELECT, INSERT, UPDATE, DELETE ON " + table + " TO relay"));
  scene.outbox.execute("GRANT " + right + " ON " + table + " TO relay");
  REQUIRE_WITHIN(10s, scene.goes_on());
  scene.processor->stop();
  CHECK(scene.processor->error().empty());
}

TEST_CASE("a relay that may not read events any more says so, and goes on once it may") {
  Scene scene;
  scene.outbox.execute("REVOKE SELECT ON outbox_event FROM relay");
  scene.outbox.add_many(10, 10);
  REQUIRE_WITHIN(5s, scene.waits_for("GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_event TO relay"));
  scene.outbox.execute("GRANT SELECT ON outbox_event TO relay");
  REQUIRE_WITHIN(10s, scene.goes_on());
}

TEST_CASE("a relay whose right to read events stays away ends with the GRANT, as it does at its start") {
  Scene scene;
  scene.outbox.execute("REVOKE SELECT ON outbox_event FROM relay");
  scene.outbox.add_many(10, 10);
  scene.processor->join();
  CHECK_THAT(scene.processor->error(),
             ContainsSubstring("GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_event TO relay"));
}

TEST_CASE("a relay that may not clean up any more says so, and publishes on") {
  Scene scene;
  const Log log;
  scene.processor->stop();
  scene.processor.reset();
  auto options = quick_polling();
  options.cleanup_interval = 100ms;
  scene.outbox.execute("REVOKE DELETE ON outbox_event FROM relay");
  Processor processor{
      "postgresql://relay@127.0.0.1:" + std::to_string(scene.outbox.server().port()) + "/postgres",
      scene.server.url(), options};
  scene.outbox.add_many(10, 10);
  REQUIRE_WITHIN(10s, scene.outbox.count_status("PUBLISHED") == 20);
  processor.stop();
  CHECK(processor.error().empty());
  CHECK_THAT(log.text(), ContainsSubstring("GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_event TO relay"));
}

TEST_CASE("a column that is renamed under a relay and comes back costs no event") {
  Scene scene;
  const std::string column = GENERATE("aggregateId", "publishedAt");
  CAPTURE(column);
  scene.outbox.execute("ALTER TABLE outbox_event RENAME COLUMN " + column + " TO other");
  scene.outbox.execute("NOTIFY outbox_event");
  if (column == "publishedAt") scene.outbox.execute(insert("late"));
  REQUIRE_WITHIN(5s, scene.waits_for("does not exist"));
  CHECK(scene.waits_for("run the service's migration"));
  scene.outbox.execute("ALTER TABLE outbox_event RENAME COLUMN other TO " + column);
  scene.outbox.add_many(10, 10);
  REQUIRE_WITHIN(10s, scene.goes_on());
  scene.processor->stop();
  CHECK(scene.processor->error().empty());
}

TEST_CASE("a table that is renamed away under a relay and comes back costs no event") {
  Scene scene;
  const std::string table = GENERATE("outbox_event", "outbox_lease", "outbox_state");
  CAPTURE(table);
  scene.outbox.execute("ALTER TABLE " + table + " RENAME TO elsewhere");
  REQUIRE_WITHIN(5s, scene.waits_for("\"" + table + "\" does not exist"));
  CHECK(scene.waits_for("run the service's migration"));
  scene.outbox.execute("ALTER TABLE elsewhere RENAME TO " + table);
  scene.outbox.add_many(10, 10);
  REQUIRE_WITHIN(10s, scene.goes_on());
  scene.processor->stop();
  CHECK(scene.processor->error().empty());
}

TEST_CASE("a relay whose database is dropped says so and ends") {
  Scene scene;
  scene.processor.reset();
  scene.outbox.execute("CREATE DATABASE shop");
  const auto url = "postgresql://tidings@127.0.0.1:" + std::to_string(scene.outbox.server().port()) + "/shop";
  Database::open(url)->migrate();
  Processor processor{url, scene.server.url(), quick_polling()};
  REQUIRE_WITHIN(10s, processor.active());
  scene.outbox.execute("DROP DATABASE shop WITH (FORCE)");
  processor.join();
  CHECK_THAT(processor.error(), ContainsSubstring("database \"shop\" does not exist"));
}
