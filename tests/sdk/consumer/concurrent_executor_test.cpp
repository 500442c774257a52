// Handlers side by side, without NATS: who runs beside whom, what is committed when,
// and what becomes of each message. Processes that die are in concurrent_deaths_test.cpp;
// handlers that take too long and an inbox in trouble in concurrent_failures_test.cpp.

#include "support/manual_consumer.hpp"
#include "support/sqlite.hpp"

#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/Database.h>
#include <sqlite3.h>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;
using Calls = std::vector<ManualConsumer::Call>;

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
  ManualConsumer consumer{folder / "inbox.db", [&](const Delivery&) { all_four.join(); }};
  consumer.submit("a1", "a");
  consumer.submit("b1", "b");
  consumer.submit("one");
  consumer.submit("other");
  REQUIRE(consumer.settle(4));
  for (const auto& [id, settlement] : consumer.settled) CHECK(settlement.kind == Kind::handled);
}

TEST_CASE("no more handlers run at once than there are workers") {
  const TempDir folder;
  std::atomic<int> inside{0}, most{0};
  ManualConsumer consumer{folder / "inbox.db",
                          [&](const Delivery&) {
                            most = std::max(most.load(), ++inside);
                            (void)eventually(5ms, [] { return false; });
                            --inside;
                          },
                          workers(2)};
  for (int i = 0; i < 10; ++i) consumer.submit(std::to_string(i));
  REQUIRE(consumer.settle(10));
  CHECK(most == 2);
}

TEST_CASE("handlers of one aggregate run one after another, in the order of the stream") {
  const TempDir folder;
  std::map<std::string, Room> rooms;
  for (const auto* key : {"a", "b"}) rooms[key];
  std::atomic<bool> overlap{false};
  ManualConsumer consumer{folder / "inbox.db", [&](const Delivery& delivery) {
                            if (!rooms.at(delivery.event.partition_key).alone()) overlap = true;
                          }};
  for (int i = 0; i < 8; ++i)
    for (const auto* key : {"a", "b"}) consumer.submit(key + std::to_string(i), key);
  REQUIRE(consumer.settle(16));
  CHECK_FALSE(overlap);
  for (const char key : {'a', 'b'}) {
    std::vector<std::string> called, expected;
    for (const auto& call : consumer.calls())
      if (call.id.front() == key) called.push_back(call.id);
    for (int i = 0; i < 8; ++i) expected.push_back(key + std::to_string(i));
    CHECK(called == expected);
  }
}

TEST_CASE("an event has its inbox row once its handler has succeeded, and not before") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Gate gate;
  ManualConsumer consumer{file, [&](const Delivery&) { gate.pass(); }};
  consumer.submit("a");
  consumer.step();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  CHECK(rows(file, "inbox") == 0);
  CHECK(consumer.settled.empty());
  gate.open();
  REQUIRE_WITHIN(10s, consumer.wakes == 1);
  CHECK(rows(file, "inbox") == 0);  // only a commit makes it
  consumer.step();
  CHECK(rows(file, "inbox") == 1);
  CHECK(rows(file, "inbox_attempt") == 0);
  CHECK(consumer.settled_ids() == std::vector<std::string>{"a"});
  CHECK(consumer.kind("a") == Kind::handled);
  CHECK(consumer.calls() == Calls{{"a", 1}});
  CHECK(consumer.executor.size() == 0);
}

TEST_CASE("the start of an event is on disk before its handler runs") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  std::atomic<std::int64_t> started{-1};
  ManualConsumer consumer{file, [&](const Delivery&) { started = rows(file, "inbox_attempt"); }};
  CHECK(consumer.handle("a").kind == Kind::handled);
  CHECK(started == 1);
}

TEST_CASE("starts share a commit, and so do ends") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  Gate last;
  ManualConsumer consumer{file, on_id("c", [&] { last.pass(); }), workers(1)};
  int commits = 0;
  sqlite3_commit_hook(consumer.inbox.sqlite()->database().getHandle(), count_commit, &commits);
  consumer.submit_all({"a", "b", "c"});
  consumer.step();
  CHECK(commits == 1);
  CHECK(rows(file, "inbox_attempt") == 3);
  // The one worker is at the third: the other two have ended.
  REQUIRE_WITHIN(10s, last.entered() == 1);
  consumer.step();
  CHECK(commits == 2);
  CHECK(consumer.settled_ids() == std::vector<std::string>{"a", "b"});
  CHECK(rows(file, "inbox") == 2);
  last.open();
  REQUIRE(consumer.settle(3));
  CHECK(commits == 3);
}

TEST_CASE("a handler that fails is retried with growing delay, then a dead letter, beside others") {
  const TempDir folder;
  const auto file = folder / "inbox.db";
  ManualConsumer consumer{file, on_id("a", fail)};
  consumer.submit_all({"a", "b"});
  REQUIRE(consumer.settle(2));
  CHECK(consumer.kind("b") == Kind::handled);
  const auto first = consumer.settlement("a"), second = consumer.handle("a"), third = consumer.handle("a");
  CHECK(first.kind == Kind::retry);
  CHECK(first.reason == "mail server down");
  CHECK(first.attempts == 1);
  CHECK(first.delay == consumer.options.backoff.delay(1, "a"));
  CHECK(second.kind == Kind::retry);
  CHECK(second.attempts == 2);
  CHECK(second.delay == consumer.options.backoff.delay(2, "a"));
  CHECK(third.kind == Kind::dead_letter);
  CHECK(third.reason == "mail server down");
  CHECK(third.attempts == 3);
  CHECK(consumer.calls().size() == 4);
  CHECK_FALSE(consumer.inbox.handled("a"));

  // It comes back when its dead letter could not be stored, and is not started again.
  const auto again = consumer.handle("a");
  CHECK(again.kind == Kind::dead_letter);
  CHECK(again.reason == "mail server down");
  CHECK(again.attempts == 3);
  CHECK(consumer.calls().size() == 4);
}

TEST_CASE("a success after a failure leaves no count behind") {
  const TempDir folder;
  bool broken = true;
  ManualConsumer consumer{folder / "inbox.db", on_id("a", [&] {
                            if (std::exchange(broken, false)) fail();
                          })};
  CHECK(consumer.handle("a").kind == Kind::retry);
  const auto settlement = consumer.handle("a");
  CHECK(settlement.kind == Kind::handled);
  CHECK(settlement.attempts == 2);
  CHECK(consumer.calls() == Calls{{"a", 1}, {"a", 2}});
  CHECK(rows(folder / "inbox.db", "inbox_attempt") == 0);
}

TEST_CASE("a type's own policy says how often and how soon its events are tried again, with workers, too") {
  const TempDir folder;
  const RetryPolicy twice{.max_attempts = 2, .backoff = Backoff{.base = 5s, .max = 5s}};
  ManualConsumer consumer{folder / "inbox.db", on_id("a", fail), {}, twice};
  const auto first = consumer.handle("a");
  CHECK(first.kind == Kind::retry);
  CHECK(first.delay == twice.backoff->delay(1, "a"));
  CHECK(consumer.handle("a").kind == Kind::dead_letter);
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
  ManualConsumer consumer{folder / "inbox.db", on_id("a", wanted.action)};
  const auto settlement = consumer.handle("a");
  CHECK(settlement.kind == wanted.kind);
  CHECK(settlement.reason == wanted.reason);
  CHECK(settlement.delay == wanted.delay.value_or(consumer.options.backoff.delay(1, "a")));
  CHECK(settlement.attempts == 1);
  CHECK_FALSE(consumer.inbox.handled("a"));
}

TEST_CASE("an event that was handled before, here or by another instance, is not started again") {
  const TempDir folder;
  ManualConsumer one{folder / "inbox.db"}, other{folder / "inbox.db"};
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
  ManualConsumer consumer{folder / "inbox.db", [&](const Delivery&) { gate.pass(); }};
  consumer.submit("a", key);
  consumer.submit("a", key);
  consumer.step();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  CHECK_FALSE(consumer.executor.more_to_do());
  gate.open();
  REQUIRE(consumer.settle(2));
  CHECK(consumer.settled[0].second.kind == Kind::handled);
  CHECK(consumer.settled[1].second.kind == Kind::duplicate);
  CHECK(consumer.calls().size() == 1);
}

TEST_CASE("with workers, a type without a handler is ignored, or a dead letter by option") {
  const TempDir folder;
  const auto unhandled = GENERATE(ConsumerOptions::Unhandled::ack, ConsumerOptions::Unhandled::dead_letter);
  ManualConsumer consumer{
      folder / "inbox.db", {}, [&](ConsumerOptions& options) { options.unhandled = unhandled; }};
  consumer.submit("a", "user-1", "user.renamed");
  consumer.submit("b", "user-1");
  REQUIRE(consumer.settle(2));
  if (unhandled == ConsumerOptions::Unhandled::ack) {
    CHECK(consumer.kind("a") == Kind::ignored);
  } else {
    CHECK(consumer.kind("a") == Kind::dead_letter);
    CHECK(consumer.settlement("a").reason == "no handler for the type user.renamed");
  }
  CHECK(consumer.kind("b") == Kind::handled);
}

TEST_CASE("later events of an aggregate are nacked behind a retry, and go on after it") {
  const TempDir folder;
  bool broken = true;
  Gate gate;
  ManualConsumer consumer{folder / "inbox.db", [&](const Delivery& delivery) {
                            if (delivery.event.id != "hot-1") return;
                            gate.pass();
                            if (std::exchange(broken, false)) throw RetryAfter(10s);
                          }};
  for (const auto* id : {"hot-1", "hot-2"}) consumer.submit(id, "hot");
  consumer.submit("other", "other");
  REQUIRE(consumer.settle(1));
  CHECK(consumer.kind("other") == Kind::handled);
  gate.open();
  REQUIRE(consumer.settle(3));
  CHECK(consumer.kind("hot-1") == Kind::retry);
  CHECK(consumer.kind("hot-2") == Kind::held_back);
  CHECK(consumer.settlement("hot-2").delay > 10s);
  consumer.submit("hot-3", "hot");  // one that comes meanwhile
  consumer.submit("other-2", "other");
  REQUIRE(consumer.settle(5));
  CHECK(consumer.kind("hot-3") == Kind::held_back);
  CHECK(consumer.kind("other-2") == Kind::handled);

  consumer.submit("hot-1", "hot");
  REQUIRE(consumer.settle(6));
  CHECK(consumer.kind("hot-1") == Kind::handled);
  for (const auto* id : {"hot-2", "hot-3"}) consumer.submit(id, "hot");
  REQUIRE(consumer.settle(8));
  CHECK(consumer.kind("hot-2") == Kind::handled);
  CHECK(consumer.kind("hot-3") == Kind::handled);
}

TEST_CASE("what was given back behind a retry is waited for when it comes late, and not when it is at hand") {
  const TempDir folder;
  bool broken = true;
  Gate gate;
  ManualConsumer consumer{folder / "inbox.db", [&](const Delivery& delivery) {
                            if (delivery.event.id != "hot-1") return;
                            gate.pass();
                            if (std::exchange(broken, false)) throw RetryAfter(10s);
                          }};
  const std::vector<std::string> hot{"hot-1", "hot-2", "hot-3"};
  for (const auto& id : hot) consumer.submit(id, "hot");
  gate.open();
  REQUIRE(consumer.settle(3));
  CHECK(consumer.settlement("hot-2").delay == consumer.settlement("hot-3").delay);

  consumer.submit("hot-1", "hot");
  REQUIRE(consumer.settle(4));
  for (const auto* id : {"hot-3", "hot-4"}) consumer.submit(id, "hot");  // and not hot-2
  REQUIRE(consumer.settle(6));
  CHECK(consumer.kind("hot-3") == Kind::held_back);
  CHECK(consumer.kind("hot-4") == Kind::held_back);

  for (const auto* id : {"hot-2", "hot-3", "hot-4"}) consumer.submit(id, "hot");
  REQUIRE(consumer.settle(9));
  const Calls expected{{"hot-1", 1}, {"hot-1", 2}, {"hot-2", 1}, {"hot-3", 1}, {"hot-4", 1}};
  CHECK(consumer.calls() == expected);
}

TEST_CASE("events of an aggregate do not wait for a retry when they need not") {
  const TempDir folder;
  ManualConsumer consumer{folder / "inbox.db", on_id("hot-1", fail),
                          [](ConsumerOptions& options) { options.hold_back = false; }};
  for (const auto* id : {"hot-1", "hot-2"}) consumer.submit(id, "hot");
  REQUIRE(consumer.settle(2));
  CHECK(consumer.kind("hot-1") == Kind::retry);
  CHECK(consumer.kind("hot-2") == Kind::handled);
}

TEST_CASE("later events of an aggregate are handled behind a dead letter") {
  const TempDir folder;
  ManualConsumer consumer{folder / "inbox.db", on_id("hot-1", [] { throw Reject("no such address"); })};
  for (const auto* id : {"hot-1", "hot-2"}) consumer.submit(id, "hot");
  REQUIRE(consumer.settle(2));
  CHECK(consumer.kind("hot-1") == Kind::dead_letter);
  CHECK(consumer.kind("hot-2") == Kind::handled);
}
