// The statements of docs/outbox-table.md, as a reader would run them.

#include "infrastructure/commit_watch.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>

using namespace tidings;
using namespace tidings::test;

namespace {

/// The first SQL of the page that begins with `beginning`, up to the end of its block.
std::string documented(const std::string& beginning) {
  std::ifstream file{TIDINGS_SOURCE_DIR "/docs/outbox-table.md"};
  const std::string page{std::istreambuf_iterator<char>{file}, {}};
  const auto begin = page.find("```sql\n" + beginning);
  REQUIRE(begin != std::string::npos);
  const auto at = begin + std::string_view{"```sql\n"}.size();
  return page.substr(at, page.find("```", at) - at);
}

}  // namespace

TEST_CASE("the row that the page shows other writers is an event like those of the library", "[engines]") {
  const auto engine = engine_under_test();
  Outbox outbox{engine};
  const auto begun = now() - std::chrono::milliseconds{1};  // the databases round
  outbox.execute(documented(engine == Engine::sqlite ? "-- SQLite" : "-- PostgreSQL"));
  outbox.add("order-2");

  std::vector<OutboxEvent> events;
  outbox.repository().rewind();
  outbox.repository().read_pending(10, events);
  REQUIRE(events.size() == 2);
  const auto& event = events.front();
  CHECK(event.id.size() == 36);
  CHECK(event.aggregate_id == "order-1");
  CHECK(event.aggregate_type == "Order");
  CHECK(event.event_type == "order.placed");
  CHECK(event.event_version == 1);
  CHECK(event.retry_count == 0);
  CHECK(nlohmann::json::parse(event.event_data) ==
        nlohmann::json::parse(R"({"data": {"cents": 1999}, "metadata": {"source": "shop"}})"));
  REQUIRE(event.occurred_at);
  for (const auto time : {*event.occurred_at, event.updated_at}) {
    CHECK(time >= begun);
    CHECK(time <= now() + std::chrono::milliseconds{1});
  }
}

TEST_CASE("a row without updatedAt is refused: the column has no default", "[engines]") {
  const auto engine = engine_under_test();
  const Outbox outbox{engine};
  auto statement = documented(engine == Engine::sqlite ? "-- SQLite" : "-- PostgreSQL");
  const auto column = statement.find(", \"updatedAt\"");
  statement.erase(column, std::string_view{", \"updatedAt\""}.size());
  const auto value = statement.rfind(", ", statement.rfind(engine == Engine::sqlite ? "strftime" : "clock"));
  statement.erase(value, statement.rfind(");") - value);
  CHECK_THROWS(outbox.execute(statement));
}

TEST_CASE("the wake-up that the page shows wakes the relay") {
  Outbox outbox{Engine::postgres};
  const auto watch = CommitWatch::open(outbox.url());
  CHECK(watch->wait(5s));
  CHECK_FALSE(watch->wait(100ms));
  outbox.execute("BEGIN; " + documented("-- PostgreSQL") + documented("SELECT pg_notify") + "COMMIT");
  const auto begun = std::chrono::steady_clock::now();
  CHECK(watch->wait(20s));
  CHECK(std::chrono::steady_clock::now() - begun < 10s);
}
