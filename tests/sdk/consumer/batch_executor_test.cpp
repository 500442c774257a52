// The life of a message inside the inbox, without NATS.

#include "consumer/batch_executor.hpp"

#include "support/batch_instance.hpp"
#include "support/catch.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

TEST_CASE("messages in flight are committed together, in order") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  const auto settlements = instance.run_batch({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::handled, Kind::handled});
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "b", "c"});
  CHECK(instance.inbox.handled({"b"}));
  CHECK(instance.attempts == std::vector{1, 1, 1});
}

TEST_CASE("nothing of a batch is visible before its commit") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  std::int64_t seen = -1;
  BatchInstance instance{file, on_id("c", [&] {
                           seen = sqlite::number(
                               file, "SELECT (SELECT count(*) FROM effect) + (SELECT count(*) FROM inbox)");
                         })};
  CHECK(instance.run_batch({"a", "b", "c"}).size() == 3);
  CHECK(seen == 0);
  CHECK(effects(file).size() == 3);
}

TEST_CASE("one that fails is rolled back alone, its neighbours are committed") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("b", fail)};
  const auto settlements = instance.run_batch({"a", "b", "c"});
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry, Kind::handled});
  CHECK(settlements[1].reason == "mail server down");
  CHECK(settlements[1].attempts == 1);
  CHECK(settlements[1].delay == instance.options.backoff.delay(1, "b"));
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "c"});
  CHECK_FALSE(instance.inbox.handled({"b"}));
  CHECK(instance.inbox.attempts({"b"})->starts == 1);
  CHECK_FALSE(instance.inbox.attempts({"a"}).has_value());
}

TEST_CASE("one that has failed here is tried again among others, and counted until it is handled or dead") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  bool failing = true;
  BatchInstance instance{file, on_id("b", [&] {
                           if (failing) fail();
                         })};
  auto batch = BatchInstance::deliveries({"a", "b"});
  CHECK(kinds(instance.run_batch(batch)) == std::vector{Kind::handled, Kind::retry});
  const auto again = [&](const std::string& neighbour) {
    auto next = BatchInstance::deliveries({neighbour, "b"});
    next[1].delivered = 2;
    return instance.run_batch(next);
  };
  auto settlements = again("c");
  CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::retry});
  CHECK(settlements[1].attempts == 2);
  CHECK(settlements[1].delay == instance.options.backoff.delay(2, "b"));
  CHECK(instance.inbox.attempts({"b"})->starts == 2);

  SECTION("handled") {
    failing = false;
    CHECK(kinds(again("d")) == std::vector{Kind::handled, Kind::handled});
    CHECK_FALSE(instance.inbox.attempts({"b"}).has_value());
    CHECK(effects(file) == std::vector<std::string>{"a", "c", "d", "b"});
  }
  SECTION("dead after as many attempts as elsewhere") {
    settlements = again("d");
    CHECK(kinds(settlements) == std::vector{Kind::handled, Kind::dead_letter});
    CHECK(settlements[1].attempts == 3);
    CHECK(instance.inbox.attempts({"b"})->state == Inbox::Attempts::State::dead_letter);
    CHECK(effects(file) == std::vector<std::string>{"a", "c", "d"});
  }
  SECTION("alone, where the process has ended since") { CHECK(instance.run_isolated("b").attempts == 3); }
}

TEST_CASE("an event that was handled before has no second effect, together or alone") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  (void)instance.run_batch({"a", "b"});
  CHECK(kinds(instance.run_batch({"a", "c", "c"})) ==
        std::vector{Kind::duplicate, Kind::handled, Kind::duplicate});
  CHECK(instance.run_isolated("b").kind == Kind::duplicate);
  CHECK(instance.started == std::vector<std::string>{"a", "b", "c"});
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("an event that another instance handled has no second effect here") {
  const TempDir folder;
  BatchInstance one{folder / "inbox.db"}, other{folder / "inbox.db"};
  CHECK(one.run_isolated("a").kind == Kind::handled);
  CHECK(other.run_isolated("a").kind == Kind::duplicate);
  CHECK(kinds(other.run_batch({"a"})) == std::vector{Kind::duplicate});
  CHECK(other.started.empty());
}

TEST_CASE("what is held back in a batch goes back in order, behind the retry, however long the batch takes") {
  const TempDir folder;
  const auto handler = [](const Delivery& delivery, SQLite::Database&) {
    if (delivery.event.id == "hot-1") throw RetryAfter(30s, "later");
    if (delivery.event.partition_key != "hot") (void)eventually(100ms, [] { return false; });
  };
  BatchInstance instance{folder / "inbox.db", handler};
  auto batch = BatchInstance::deliveries({"hot-1", "hot-2", "slow-1", "hot-3", "slow-2"});
  for (std::size_t i = 0; i < batch.size(); ++i) {
    batch[i].stream_sequence = i + 1;
    batch[i].event.partition_key = batch[i].event.id.substr(0, batch[i].event.id.find('-'));
  }
  const auto settlements = instance.run_batch(batch);
  CHECK(kinds(settlements) ==
        std::vector{Kind::retry, Kind::held_back, Kind::handled, Kind::held_back, Kind::handled});
  CHECK(settlements[0].delay == 30s);
  for (const auto held_back : {1, 3})
    CHECK(settlements[static_cast<std::size_t>(held_back)].delay == 30050ms);
}

TEST_CASE("a batch ends when its time is up, after at least one message") {
  const TempDir folder;
  BatchInstance instance{
      folder / "inbox.db",
      on_id("b",
            [] {
              const auto begun = std::chrono::steady_clock::now();
              (void)eventually(60s, [begun] { return std::chrono::steady_clock::now() > begun + 30ms; });
            }),
      [](ConsumerOptions& options) { options.max_batch_time = 30ms; }};
  CHECK(kinds(instance.run_batch({"a", "b", "c", "d"})) == std::vector{Kind::handled, Kind::handled});
  CHECK(effects(folder / "inbox.db") == std::vector<std::string>{"a", "b"});
  CHECK(instance.run_batch({"c", "d"}).size() == 2);

  BatchInstance hasty{
      folder / "inbox.db", {}, [](ConsumerOptions& options) { options.max_batch_time = 0ms; }};
  CHECK(hasty.run_batch({"e", "f"}).size() == 1);
}

TEST_CASE("what is pruned may take effect again, and nothing else") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db"};
  CHECK(instance.run_batch({"old", "new"}).size() == 2);
  sqlite::execute(folder / "inbox.db", "UPDATE inbox SET handled_at = 1000 WHERE event_id = 'old'");
  transact(instance.inbox, [&] { CHECK(instance.inbox.prune(std::chrono::hours{24}, 100)); });
  CHECK(kinds(instance.run_batch({"old", "new"})) == std::vector{Kind::handled, Kind::duplicate});
}
