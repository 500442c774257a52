// Handlers side by side, without NATS: who runs beside whom, what is committed when,
// and what becomes of each message. Processes that die are in concurrent_deaths_test.cpp;
// handlers that take too long and an inbox in trouble in concurrent_failures_test.cpp.

#include "support/crew.hpp"
#include "support/sqlite.hpp"

#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;
using Calls = std::vector<Crew::Call>;

namespace {

std::int64_t rows(const std::filesystem::path& file, const std::string& table) {
  return sqlite::number(file, "SELECT count(*) FROM " + table);
}

[[noreturn]] void fail() { throw std::runtime_error("mail server down"); }

int count_commit(void* count) {
  ++*static_cast<int*>(count);
  return 0;
}

}  // namespace

TEST_CASE("handlers of different aggregates run at the same time, and those of events without one") {
  const TempDir folder;
  Meeting all_four{4};
  Crew crew{folder / "inbox.db", [&](const Delivery&) { all_four.join(); }};
  crew.submit("a1", "a");
  crew.submit("b1", "b");
  crew.submit("one");
  crew.submit("other");
  REQUIRE(crew.settle(4));
  for (const auto& [id, settlement] : crew.settled) CHECK(settlement.kind == Kind::handled);
}

TEST_CASE("no more handlers run at once than there are workers") {
  const TempDir folder;
  std::atomic<int> inside{0}, most{0};
  Crew crew{folder / "inbox.db",
            [&](const Delivery&) {
              most = std::max(most.load(), ++inside);
              (void)eventually(5ms, [] { return false; });
              --inside;
            },
            workers(2)};
  for (int i = 0; i < 10; ++i) crew.submit(std::to_string(i));
  REQUIRE(crew.settle(10));
  CHECK(most == 2);
}

TEST_CASE("handlers of one aggregate run one after another, in the order of the stream") {
  const TempDir folder;
  std::map<std::string, Room> rooms;
  for (const auto* key : {"a", "b"}) rooms[key];
  std::atomic<bool> overlap{false};
  Crew crew{folder / "inbox.db", [&](const Delivery& delivery) {
              if (!rooms.at(delivery.event.partition_key).alone()) overlap = true;
            }};
  for (int i = 0; i < 8; ++i)
    for (const auto* key : {"a", "b"}) crew.submit(key + std::to_string(i), key);
  REQUIRE(crew.settle(16));
  CHECK_FALSE(overlap);
  for (const char key : {'a', 'b'}) {
    std::vector<std::string> called, expected;
    for (const auto& call : crew.calls())
      if (call.id.front() == key) called.push_back(call.id);
    for (int i = 0; i < 8; ++i) expected.push_back(key + std::to_string(i));
    CHECK(called == expected);
  }
}

TEST_CASE("an event has its inbox row once its handler has succeeded, and not before") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Gate gate;
  Crew crew{file, [&](const Delivery&) { gate.pass(); }};
  crew.submit("a");
  crew.step();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  CHECK(rows(file, "inbox") == 0);
  CHECK(crew.settled.empty());
  gate.open();
  REQUIRE_WITHIN(10s, crew.wakes == 1);
  CHECK(rows(file, "inbox") == 0);  // only a commit makes it
  crew.step();
  CHECK(rows(file, "inbox") == 1);
  CHECK(rows(file, "inbox_attempt") == 0);
  CHECK(crew.settled_ids() == std::vector<std::string>{"a"});
  CHECK(crew.kind("a") == Kind::handled);
  CHECK(crew.calls() == Calls{{"a", 1}});
  CHECK(crew.executor.size() == 0);
}

TEST_CASE("the start of an event is on disk before its handler runs") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  std::atomic<std::int64_t> started{-1};
  Crew crew{file, [&](const Delivery&) { started = rows(file, "inbox_attempt"); }};
  CHECK(crew.handle("a").kind == Kind::handled);
  CHECK(started == 1);
}

TEST_CASE("starts share a commit, and so do ends") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Gate last;
  Crew crew{file, on_id("c", [&] { last.pass(); }), workers(1)};
  int commits = 0;
  sqlite3_commit_hook(crew.inbox.sqlite()->database().getHandle(), count_commit, &commits);
  crew.submit_all({"a", "b", "c"});
  crew.step();
  CHECK(commits == 1);
  CHECK(rows(file, "inbox_attempt") == 3);
  // The one worker is at the third: the other two have ended.
  REQUIRE_WITHIN(10s, last.entered() == 1);
  crew.step();
  CHECK(commits == 2);
  CHECK(crew.settled_ids() == std::vector<std::string>{"a", "b"});
  CHECK(rows(file, "inbox") == 2);
  last.open();
  REQUIRE(crew.settle(3));
  CHECK(commits == 3);
}

TEST_CASE("a handler that fails is retried with growing delay, then a dead letter, beside others") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Crew crew{file, on_id("a", fail)};
  crew.submit_all({"a", "b"});
  REQUIRE(crew.settle(2));
  CHECK(crew.kind("b") == Kind::handled);
  const auto first = crew.settlement("a"), second = crew.handle("a"), third = crew.handle("a");
  CHECK(first.kind == Kind::retry);
  CHECK(first.reason == "mail server down");
  CHECK(first.attempts == 1);
  CHECK(first.delay == crew.options.backoff.delay(1, "a"));
  CHECK(second.kind == Kind::retry);
  CHECK(second.attempts == 2);
  CHECK(second.delay == crew.options.backoff.delay(2, "a"));
  CHECK(third.kind == Kind::dead_letter);
  CHECK(third.reason == "mail server down");
  CHECK(third.attempts == 3);
  CHECK(crew.calls().size() == 4);
  CHECK_FALSE(crew.inbox.handled("a"));

  // It comes back when its dead letter could not be stored, and is not started again.
  const auto again = crew.handle("a");
  CHECK(again.kind == Kind::dead_letter);
  CHECK(again.reason == "mail server down");
  CHECK(again.attempts == 3);
  CHECK(crew.calls().size() == 4);
}

TEST_CASE("a success after a failure leaves no count behind") {
  const TempDir folder;
  bool broken = true;
  Crew crew{folder / "inbox.db", on_id("a", [&] {
              if (std::exchange(broken, false)) fail();
            })};
  CHECK(crew.handle("a").kind == Kind::retry);
  const auto settlement = crew.handle("a");
  CHECK(settlement.kind == Kind::handled);
  CHECK(settlement.attempts == 2);
  CHECK(crew.calls() == Calls{{"a", 1}, {"a", 2}});
  CHECK(rows(folder / "inbox.db", "inbox_attempt") == 0);
}

TEST_CASE("a type's own policy says how often and how soon its events are tried again, with workers, too") {
  const TempDir folder;
  const RetryPolicy twice{.max_attempts = 2, .backoff = Backoff{.base = 5s, .max = 5s}};
  Crew crew{folder / "inbox.db", on_id("a", fail), {}, twice};
  const auto first = crew.handle("a");
  CHECK(first.kind == Kind::retry);
  CHECK(first.delay == twice.backoff->delay(1, "a"));
  CHECK(crew.handle("a").kind == Kind::dead_letter);
}

TEST_CASE("what a handler throws on a worker says what becomes of the message") {
  const TempDir folder;
  struct Case {
    std::function<void()> action;
    Kind kind;
    std::string reason;
    std::optional<std::chrono::milliseconds> delay;
  };
  const auto wanted = GENERATE(values<Case>({
      {[] { throw Reject("no such address"); }, Kind::dead_letter, "no such address", 0ms},
      {[] { throw Undecodable("data: is no JSON"); }, Kind::dead_letter, "data: is no JSON", 0ms},
      {[] { throw RetryAfter(30s, "come back later"); }, Kind::retry, "come back later", 30s},
      {[] { throw std::runtime_error("mail server down"); }, Kind::retry, "mail server down", {}},
      {[] { throw 42; }, Kind::retry, "the handler threw something that is not a std::exception", {}},
  }));
  INFO(wanted.reason);
  Crew crew{folder / "inbox.db", on_id("a", wanted.action)};
  const auto settlement = crew.handle("a");
  CHECK(settlement.kind == wanted.kind);
  CHECK(settlement.reason == wanted.reason);
  CHECK(settlement.delay == wanted.delay.value_or(crew.options.backoff.delay(1, "a")));
  CHECK(settlement.attempts == 1);
  CHECK_FALSE(crew.inbox.handled("a"));
}

TEST_CASE("an event that was handled before, here or by another instance, is not started again") {
  const TempDir folder;
  Crew one{folder / "inbox.db"}, other{folder / "inbox.db"};
  CHECK(one.handle("a").kind == Kind::handled);
  CHECK(one.handle("a").kind == Kind::duplicate);
  CHECK(other.handle("a").kind == Kind::duplicate);
  CHECK(one.calls().size() == 1);
  CHECK(other.calls().empty());
}

TEST_CASE("a second copy of an event waits for the first one, with a key and without") {
  const TempDir folder;
  const std::string key = GENERATE(as<std::string>{}, "", "user-1");
  Gate gate;
  Crew crew{folder / "inbox.db", [&](const Delivery&) { gate.pass(); }};
  crew.submit("a", key);
  crew.submit("a", key);
  crew.step();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  CHECK_FALSE(crew.executor.more_to_do());
  gate.open();
  REQUIRE(crew.settle(2));
  CHECK(crew.settled[0].second.kind == Kind::handled);
  CHECK(crew.settled[1].second.kind == Kind::duplicate);
  CHECK(crew.calls().size() == 1);
}

TEST_CASE("with workers, a type without a handler is ignored, or a dead letter by option") {
  const TempDir folder;
  const auto unhandled = GENERATE(ConsumerOptions::Unhandled::ack, ConsumerOptions::Unhandled::dead_letter);
  Crew crew{folder / "inbox.db", {}, [&](ConsumerOptions& options) { options.unhandled = unhandled; }};
  crew.submit("a", "user-1", "user.renamed");
  crew.submit("b", "user-1");
  REQUIRE(crew.settle(2));
  if (unhandled == ConsumerOptions::Unhandled::ack) {
    CHECK(crew.kind("a") == Kind::ignored);
  } else {
    CHECK(crew.kind("a") == Kind::dead_letter);
    CHECK(crew.settlement("a").reason == "no handler for the type user.renamed");
  }
  CHECK(crew.kind("b") == Kind::handled);
}

TEST_CASE("later events of an aggregate are nacked behind a retry, and go on after it") {
  const TempDir folder;
  bool broken = true;
  Gate gate;
  Crew crew{folder / "inbox.db", [&](const Delivery& delivery) {
              if (delivery.event.id != "hot-1") return;
              gate.pass();
              if (std::exchange(broken, false)) throw RetryAfter(10s);
            }};
  for (const auto* id : {"hot-1", "hot-2"}) crew.submit(id, "hot");
  crew.submit("other", "other");
  REQUIRE(crew.settle(1));
  CHECK(crew.kind("other") == Kind::handled);
  gate.open();
  REQUIRE(crew.settle(3));
  CHECK(crew.kind("hot-1") == Kind::retry);
  CHECK(crew.kind("hot-2") == Kind::held_back);
  CHECK(crew.settlement("hot-2").delay > 10s);
  crew.submit("hot-3", "hot");  // one that comes meanwhile
  crew.submit("other-2", "other");
  REQUIRE(crew.settle(5));
  CHECK(crew.kind("hot-3") == Kind::held_back);
  CHECK(crew.kind("other-2") == Kind::handled);

  crew.submit("hot-1", "hot");
  REQUIRE(crew.settle(6));
  CHECK(crew.kind("hot-1") == Kind::handled);
  for (const auto* id : {"hot-2", "hot-3"}) crew.submit(id, "hot");
  REQUIRE(crew.settle(8));
  CHECK(crew.kind("hot-2") == Kind::handled);
  CHECK(crew.kind("hot-3") == Kind::handled);
}

TEST_CASE("what was given back behind a retry is waited for when it comes late, and not when it is at hand") {
  const TempDir folder;
  bool broken = true;
  Gate gate;
  Crew crew{folder / "inbox.db", [&](const Delivery& delivery) {
              if (delivery.event.id != "hot-1") return;
              gate.pass();
              if (std::exchange(broken, false)) throw RetryAfter(10s);
            }};
  const std::vector<std::string> hot{"hot-1", "hot-2", "hot-3"};
  for (const auto& id : hot) crew.submit(id, "hot");
  gate.open();
  REQUIRE(crew.settle(3));
  CHECK(crew.settlement("hot-2").delay == crew.settlement("hot-3").delay);

  crew.submit("hot-1", "hot");
  REQUIRE(crew.settle(4));
  for (const auto* id : {"hot-3", "hot-4"}) crew.submit(id, "hot");  // and not hot-2
  REQUIRE(crew.settle(6));
  CHECK(crew.kind("hot-3") == Kind::held_back);
  CHECK(crew.kind("hot-4") == Kind::held_back);

  for (const auto* id : {"hot-2", "hot-3", "hot-4"}) crew.submit(id, "hot");
  REQUIRE(crew.settle(9));
  const Calls expected{{"hot-1", 1}, {"hot-1", 2}, {"hot-2", 1}, {"hot-3", 1}, {"hot-4", 1}};
  CHECK(crew.calls() == expected);
}

TEST_CASE("events of an aggregate do not wait for a retry when they need not") {
  const TempDir folder;
  Crew crew{folder / "inbox.db", on_id("hot-1", fail),
            [](ConsumerOptions& options) { options.hold_back = false; }};
  for (const auto* id : {"hot-1", "hot-2"}) crew.submit(id, "hot");
  REQUIRE(crew.settle(2));
  CHECK(crew.kind("hot-1") == Kind::retry);
  CHECK(crew.kind("hot-2") == Kind::handled);
}

TEST_CASE("later events of an aggregate are handled behind a dead letter") {
  const TempDir folder;
  Crew crew{folder / "inbox.db", on_id("hot-1", [] { throw Reject("no such address"); })};
  for (const auto* id : {"hot-1", "hot-2"}) crew.submit(id, "hot");
  REQUIRE(crew.settle(2));
  CHECK(crew.kind("hot-1") == Kind::dead_letter);
  CHECK(crew.kind("hot-2") == Kind::handled);
}
