// Handlers side by side when something goes wrong: a handler that takes too long, an inbox
// in trouble, a stop in the middle. Without NATS.

#include "support/inbox_faults.hpp"
#include "support/manual_consumer.hpp"

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;
using Calls = std::vector<ManualConsumer::Call>;

namespace {

constexpr auto limit = 100ms;

void with_limit(ConsumerOptions& options) { options.handler_time_limit = limit; }

}  // namespace

TEST_CASE("a handler that runs longer than it may is a failure, and its late success is none") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  Gate gate;
  ManualConsumer consumer{inbox, on_id("slow-1", [&] { gate.pass(); }), with_limit};
  consumer.submit("slow-1", "slow");
  consumer.submit("slow-2", "slow");
  CHECK_FALSE(consumer.executor.next_overdue());
  const auto begun = std::chrono::steady_clock::now();
  consumer.step();
  REQUIRE_WITHIN(10s, consumer.executor.next_overdue().has_value());
  CHECK(*consumer.executor.next_overdue() <= std::chrono::steady_clock::now() + limit + 1ms);
  CHECK(consumer.executor.stuck() == 0);

  REQUIRE(consumer.settle(2));
  CHECK(std::chrono::steady_clock::now() >= begun + limit);
  const auto settlement = consumer.settlement("slow-1");
  CHECK(settlement.kind == Kind::retry);
  CHECK(settlement.reason == "the handler ran longer than 100 ms");
  CHECK(settlement.attempts == 1);
  CHECK(settlement.delay == consumer.options.backoff.delay(1, "slow-1"));
  CHECK(consumer.kind("slow-2") == Kind::held_back);
  CHECK(consumer.inbox.attempts("slow-1")->starts == 1);
  CHECK(consumer.executor.stuck() == 1);
  CHECK(consumer.executor.size() == 0);
  CHECK(consumer.handle("other").kind == Kind::handled);  // by another worker

  gate.open();
  REQUIRE_WITHIN(10s, !consumer.executor.more_to_do() && consumer.executor.stuck() == 0);
  CHECK(consumer.settled.size() == 3);
  CHECK_FALSE(consumer.inbox.handled("slow-1"));
  CHECK(consumer.inbox.attempts("slow-1")->reason == settlement.reason);
}

TEST_CASE("a handler that runs too long at its last attempt is a dead letter") {
  const TempDir folder;
  const InboxPlace place{folder};
  Gate gate;
  ManualConsumer consumer{
      place.location("inbox"), [&](const Delivery&) { gate.pass(); }, with_limit, {.max_attempts = 1}};
  CHECK(consumer.handle("a").kind == Kind::dead_letter);
  gate.open();
}

TEST_CASE("while a late handler still runs, another instance handles its event, once") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  Gate gate;
  ManualConsumer late{inbox, [&](const Delivery&) { gate.pass(); }, with_limit};
  CHECK(late.handle("a").kind == Kind::retry);
  ManualConsumer other{inbox};
  CHECK(other.handle("a").kind == Kind::handled);
  CHECK(other.calls() == Calls{{"a", 2}});
  gate.open();
  REQUIRE_WITHIN(10s, !late.executor.more_to_do() && late.executor.stuck() == 0);
  CHECK(late.settled.size() == 1);
  CHECK(late.inbox.handled("a"));
  CHECK(place.count("inbox_attempt") == 0);
}

TEST_CASE("a result that comes after another instance has started the event is of no effect") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  const bool succeeds = GENERATE(true, false);
  INFO("the late one succeeds: " << succeeds);
  Gate one_ends, other_ends;
  ManualConsumer one{inbox, [&](const Delivery&) {
                       one_ends.pass();
                       if (!succeeds) throw std::runtime_error("mail server down");
                     }};
  ManualConsumer other{inbox, [&](const Delivery&) { other_ends.pass(); }};
  one.submit("a");
  one.step();
  REQUIRE_WITHIN(10s, one_ends.entered() == 1);
  // The server hands it to another, since it has heard nothing of the first.
  other.submit("a");
  REQUIRE_WITHIN(10s, (other.executor.more_to_do() ? other.step() : void(), other_ends.entered() == 1));

  SECTION("while the other one runs") {
    one_ends.open();
    REQUIRE(one.settle(1));
    CHECK(one.kind("a") == Kind::fenced);
    CHECK(place.count("inbox") == 0);
    other_ends.open();
    REQUIRE(other.settle(1));
    CHECK(other.kind("a") == Kind::handled);
  }
  SECTION("after the other one has succeeded") {
    other_ends.open();
    REQUIRE(other.settle(1));
    CHECK(other.kind("a") == Kind::handled);
    one_ends.open();
    REQUIRE(one.settle(1));
    CHECK(one.kind("a") == Kind::duplicate);
  }
  CHECK(place.count("inbox") == 1);
  CHECK(place.count("inbox_attempt") == 0);
  CHECK(one.calls().size() == 1);
  CHECK(other.calls().size() == 1);
}

TEST_CASE("an unavailable inbox changes nothing, and the same is settled after it") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  ManualConsumer consumer{inbox, on_id("b", [] { throw std::runtime_error("mail server down"); })};
  wait_for_nothing(consumer.inbox);
  std::optional<InboxLock> lock;
  consumer.submit_all({"a", "b"});
  lock.emplace(place);
  for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(consumer.step(), InboxUnavailable);
  CHECK(consumer.executor.more_to_do());
  CHECK(consumer.calls().empty());  // no start without its row
  lock.reset();
  consumer.step();
  REQUIRE_WITHIN(10s, consumer.calls().size() == 2 && consumer.executor.more_to_do());
  lock.emplace(place);
  for (int i = 0; i < 5; ++i) CHECK_THROWS_AS(consumer.step(), InboxUnavailable);  // more than max_attempts
  CHECK(consumer.executor.more_to_do());
  CHECK(consumer.settled.empty());
  CHECK(consumer.executor.size() == 2);
  lock.reset();
  REQUIRE(consumer.settle(2));
  CHECK(consumer.kind("a") == Kind::handled);
  CHECK(consumer.kind("b") == Kind::retry);
  CHECK(consumer.settlement("b").attempts == 1);
  CHECK(consumer.inbox.attempts("b")->starts == 1);
  CHECK(consumer.calls().size() == 2);
}

TEST_CASE("an error in the middle of a commit leaves nothing of it behind") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  ManualConsumer consumer{inbox};
  make_full(consumer.inbox);
  const std::vector<std::string> ids = [] {
    std::vector<std::string> long_ones;
    for (int i = 0; i < 12; ++i) long_ones.push_back(std::to_string(i) + std::string(2000, 'x'));
    return long_ones;
  }();
  consumer.submit_all(ids);
  CHECK_THROWS_AS(consumer.step(), InboxUnavailable);
  CHECK(place.count("inbox_attempt") == 0);
  CHECK(consumer.calls().empty());
  make_room(consumer.inbox);
  REQUIRE(consumer.settle(ids.size()));
  CHECK(place.count("inbox") == 12);
}

TEST_CASE("a row that the inbox refuses is a permanent error, and leaves no transaction open") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  ManualConsumer consumer{inbox};
  refuse_b(consumer.inbox);
  consumer.submit_all({"a", "b"});
  CHECK_THAT(error_of<DatabaseError>([&] { consumer.step(); }), ContainsSubstring("no b"));
  CHECK(place.count("inbox_attempt") == 0);
  CHECK(consumer.calls().empty());
  take_b(consumer.inbox);
  REQUIRE(consumer.settle(2));
  CHECK(place.count("inbox") == 2);
}

TEST_CASE("with workers, what a handler's error says is no record of ours") {
  const TempDir folder;
  const InboxPlace place{folder};
  const std::string words = GENERATE("for the dead letters: x", "the process ended while handling it",
                                     "the process ended while handling it and others");
  INFO(words);
  ManualConsumer consumer{place.location("inbox"),
                          [&words](const Delivery&) { throw std::runtime_error(words); }};
  CHECK(consumer.handle("a").kind == Kind::retry);
  CHECK(consumer.handle("a").kind == Kind::retry);
  const auto last = consumer.handle("a");
  CHECK(last.kind == Kind::dead_letter);
  CHECK(last.reason == words);
  CHECK(consumer.calls() == Calls{{"a", 1}, {"a", 2}, {"a", 3}});
}

TEST_CASE("at a stop, what no worker has started goes back with its former count") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  CHECK(ManualConsumer(inbox, [](const Delivery&) { throw std::runtime_error("mail server down"); })
            .handle("b")
            .kind == Kind::retry);
  Gate gate;
  ManualConsumer consumer{inbox, on_id("a", [&] { gate.pass(); }), workers(1)};
  consumer.submit_all({"a", "b", "c", "d", "e"});
  consumer.step();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  CHECK(consumer.inbox.attempts("b")->reason != "mail server down");  // b and c are written down as started

  SECTION("with a good inbox") { consumer.withdraw(); }
  SECTION("once its inbox is no longer in trouble") {
    wait_for_nothing(consumer.inbox);
    std::optional<InboxLock> lock{place};
    CHECK_THROWS_AS(consumer.withdraw(), InboxUnavailable);
    CHECK(consumer.settled.empty());
    CHECK(consumer.executor.size() == 5);
    lock.reset();
    consumer.withdraw();
  }
  CHECK(consumer.settled_ids() == std::vector<std::string>{"b", "c", "d", "e"});
  for (const auto& [id, settlement] : consumer.settled) CHECK(settlement.kind == Kind::not_started);
  CHECK(consumer.inbox.attempts("b")->starts == 1);
  CHECK(consumer.inbox.attempts("b")->reason == "mail server down");
  CHECK(place.count("inbox_attempt") == 2);  // that one, and what runs

  gate.open();
  REQUIRE(consumer.settle(5));
  CHECK(consumer.kind("a") == Kind::handled);
  CHECK(consumer.calls() == Calls{{"a", 1}});
  CHECK(consumer.executor.size() == 0);
}

TEST_CASE("while all workers are held by late handlers, what waits is nacked for others to handle") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  Gate gate;
  ManualConsumer consumer{inbox, on_id("late", [&] { gate.pass(); }), [](ConsumerOptions& options) {
                            options.workers = 1;
                            with_limit(options);
                          }};
  consumer.submit("late", "late");
  for (const auto* id : {"b1", "b2"}) consumer.submit(id, "b");
  REQUIRE(consumer.settle(1));
  CHECK(consumer.executor.all_stuck());
  CHECK(consumer.executor.size() == 2);

  consumer.withdraw(10s);
  CHECK(consumer.settled_ids() == std::vector<std::string>{"late", "b1", "b2"});
  for (const auto* id : {"b1", "b2"}) {
    CHECK(consumer.kind(id) == Kind::not_started);
    CHECK(consumer.settlement(id).delay == 10s);
  }
  CHECK(place.count("inbox_attempt") == 1);  // of the late one
  CHECK(consumer.executor.size() == 0);
  consumer.submit("b3", "b");  // would overtake them
  consumer.submit("c", "c");
  consumer.step();
  CHECK(consumer.kind("b3") == Kind::held_back);
  CHECK(consumer.executor.size() == 1);
  CHECK(place.count("inbox_attempt") == 1);  // nothing is started

  gate.open();
  REQUIRE(consumer.settle(5));
  CHECK(consumer.kind("c") == Kind::handled);
  CHECK_FALSE(consumer.executor.all_stuck());
  consumer.submit("b1", "b");
  REQUIRE(consumer.settle(6));
  CHECK(consumer.kind("b1") == Kind::handled);
  consumer.submit("b2", "b");
  REQUIRE(consumer.settle(7));
  CHECK(consumer.kind("b2") == Kind::handled);
}

TEST_CASE("handlers that are given up on leave their events the count they had before") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  CHECK(ManualConsumer(inbox, [](const Delivery&) { throw std::runtime_error("mail server down"); })
            .handle("b")
            .kind == Kind::retry);
  Gate gate;
  ManualConsumer consumer{inbox, [&](const Delivery&) { gate.pass(); }, workers(2)};
  wait_for_nothing(consumer.inbox);
  consumer.submit_all({"a", "b", "c"});
  consumer.step();
  REQUIRE_WITHIN(10s, gate.entered() == 2);

  SECTION("with a good inbox") {
    consumer.abandon_all();
    CHECK(place.count("inbox_attempt") == 1);
    CHECK(consumer.inbox.attempts("b")->starts == 1);
    CHECK(consumer.inbox.attempts("b")->reason == "mail server down");
  }
  SECTION("but not where the inbox is in trouble") {
    const InboxLock lock{place};
    CHECK_NOTHROW(consumer.abandon_all());
  }
  SECTION("but not where another has started the event since") {
    ManualConsumer other{inbox, [](const Delivery&) { throw std::runtime_error("mail server still down"); }};
    CHECK(other.handle("b").kind == Kind::retry);
    consumer.abandon_all();
    CHECK(place.count("inbox_attempt") == 1);
    CHECK(consumer.inbox.attempts("b")->reason == "mail server still down");
  }
  CHECK(consumer.settled.size() == 3);
  CHECK(consumer.executor.size() == 0);
  gate.open();
  REQUIRE_WITHIN(10s, !consumer.executor.more_to_do() && consumer.executor.stuck() == 0);
  CHECK(place.count("inbox") == 0);
}

TEST_CASE("a handler that has ended too late for a commit is given up on like one that runs") {
  const TempDir folder;
  const InboxPlace place{folder};
  ManualConsumer consumer{place.location("inbox")};
  consumer.submit("a");
  consumer.step();
  REQUIRE_WITHIN(10s, consumer.executor.more_to_do());
  consumer.abandon_all();
  CHECK(consumer.kind("a") == Kind::not_started);
  CHECK(place.count("inbox_attempt") == 0);
  CHECK(place.count("inbox") == 0);
}

TEST_CASE("handlers that are given up on are of no effect when they end") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  Gate gate;
  ManualConsumer consumer{inbox, [&](const Delivery&) { gate.pass(); }};
  consumer.submit_all({"a", "b"});
  consumer.step();
  REQUIRE_WITHIN(10s, gate.entered() == 2);
  consumer.abandon_all();
  CHECK(consumer.settled.size() == 2);
  for (const auto& [id, settlement] : consumer.settled) CHECK(settlement.kind == Kind::not_started);
  CHECK(consumer.executor.size() == 0);
  CHECK_FALSE(consumer.executor.more_to_do());
  CHECK(consumer.executor.stuck() == 2);
  gate.open();
  REQUIRE_WITHIN(10s, !consumer.executor.more_to_do() && consumer.executor.stuck() == 0);
  CHECK(consumer.settled.size() == 2);
  CHECK(place.count("inbox") == 0);
}
