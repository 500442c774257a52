#include "services/publish_scheduler.hpp"

#include "support/catch.hpp"
#include "support/scheduled_event.hpp"

#include <map>
#include <string>
#include <vector>

using namespace tidings;
using tidings::test::event;
using namespace std::chrono_literals;

namespace {

/// Remembers the token of each event sent, by its id.
std::map<std::string, std::uint64_t> token;

std::vector<std::string> send_all(PublishScheduler& scheduler, std::size_t most = 1000) {
  std::vector<std::string> ids;
  while (ids.size() < most) {
    const auto next = scheduler.next_send();
    if (!next) break;
    ids.push_back(next->event->id);
    token[next->event->id] = next->token;
  }
  return ids;
}

/// One whose chain has a head already: "e0".
PublishScheduler chained(std::size_t window) {
  PublishScheduler scheduler{window};
  scheduler.offer(event(0, "head"));
  REQUIRE(send_all(scheduler).size() == 1);
  REQUIRE(scheduler.stored(token["e0"]));
  return scheduler;
}

}  // namespace

TEST_CASE("without failures everything is sent at once, in commit order, each chained to the one before") {
  auto scheduler = chained(10);
  for (int i = 1; i <= 4; ++i) scheduler.offer(event(i, i % 2 == 0 ? "even" : "odd"));
  std::vector<std::string> after;
  while (const auto next = scheduler.next_send()) after.push_back(next->after);
  CHECK(after == std::vector<std::string>{"e0", "e1", "e2", "e3"});
  CHECK(scheduler.in_flight() == 4);
}

TEST_CASE("the head of a chain goes alone, and one that the stream had already carries none") {
  PublishScheduler scheduler{10};
  for (int i = 1; i <= 4; ++i) scheduler.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  SECTION("stored") {
    REQUIRE(scheduler.stored(token["e1"]));
    CHECK(scheduler.next_send()->after == "e1");
  }
  SECTION("known") {
    REQUIRE(scheduler.stored(token["e1"], true));
    CHECK_FALSE(scheduler.chained());
    CHECK(scheduler.next_send()->after.empty());
    CHECK(send_all(scheduler) == std::vector<std::string>{"e3", "e4"});
  }
  SECTION("not stored") {
    scheduler.returned(token["e1"]);
    CHECK_FALSE(scheduler.chained());
    CHECK(send_all(scheduler).size() == 4);
  }
}

TEST_CASE(
    "where no chain is allowed an event waits for the one of its aggregate, and all behind wait with it") {
  PublishScheduler scheduler{10};
  scheduler.allow_chain(false);
  int position = 0;
  for (const char* aggregate : {"a", "b", "a", "c"}) scheduler.offer(event(++position, aggregate));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1", "e2"});
  REQUIRE(scheduler.stored(token["e2"]));
  CHECK(send_all(scheduler).empty());
  REQUIRE(scheduler.stored(token["e1"]));
  while (const auto next = scheduler.next_send()) {
    CHECK(next->after.empty());
    token[next->event->id] = next->token;
  }
  CHECK(scheduler.in_flight() == 2);
  REQUIRE(scheduler.stored(token["e3"]));
  REQUIRE(scheduler.stored(token["e4"]));
}

TEST_CASE("where no chain is allowed others pass the events of an aggregate that failed") {
  PublishScheduler scheduler{10};
  scheduler.allow_chain(false);
  int position = 0;
  for (const char* aggregate : {"a", "a", "b", "b"}) scheduler.offer(event(++position, aggregate));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  scheduler.returned(token["e1"]);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1", "e3"});
  REQUIRE(scheduler.stored(token["e3"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e4"});
}

TEST_CASE(
    "where no chain is allowed, commit order is kept again when no aggregate has rows in the table any "
    "more") {
  PublishScheduler scheduler{1000};
  scheduler.allow_chain(false);
  std::int64_t position = 0;
  const auto publish_another = [&] {
    scheduler.offer(event(++position, "b"));
    const auto ids = send_all(scheduler);
    REQUIRE(ids == std::vector<std::string>{"e" + std::to_string(position)});
    REQUIRE(scheduler.stored(token[ids[0]]));
  };
  const auto others_pass = [&] {
    for (const char* aggregate : {"b", "b", "c"}) scheduler.offer(event(++position, aggregate));
    const auto sent = send_all(scheduler).size();
    for (auto at = position - 2; at <= position; ++at) {
      REQUIRE(scheduler.stored(token["e" + std::to_string(at)]));
      send_all(scheduler);
    }
    return sent == 2;
  };
  scheduler.offer(event(++position, "a"));
  CHECK(send_all(scheduler).size() == 1);
  scheduler.returned(token["e1"]);
  std::vector<OutboxEvent> rest;
  for (int i = 0; i < 99; ++i) {
    rest.push_back(event(++position, "a"));
    scheduler.offer(rest.back());
  }
  CHECK(send_all(scheduler).size() == 1);
  CHECK(scheduler.left_behind() > 0);
  for (int i = 0; i < 5000; ++i) publish_another();
  CHECK(others_pass());

  const auto left = static_cast<std::size_t>(scheduler.left_behind());
  for (std::size_t at = 1; at <= 100 - left; ++at) {
    REQUIRE(scheduler.stored(token["e" + std::to_string(at)]));
    send_all(scheduler);
  }
  const auto request = scheduler.next_refill({});
  REQUIRE(request);
  scheduler.refill(*request, {rest.end() - static_cast<std::ptrdiff_t>(left), rest.end()}, true);
  for (auto at = 101 - left; at <= 100; ++at) {
    send_all(scheduler);
    REQUIRE(scheduler.stored(token["e" + std::to_string(at)]));
  }
  publish_another();
  CHECK_FALSE(others_pass());
}

TEST_CASE("where no chain is allowed others pass what a blocked aggregate had left in the table") {
  PublishScheduler scheduler{100};
  scheduler.allow_chain(false);
  scheduler.block(event(1, "a"), Timestamp{1s});
  std::vector<OutboxEvent> rest;
  for (int i = 2; i <= 5; ++i) {
    rest.push_back(event(i, "a"));
    scheduler.offer(rest.back());
  }
  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  scheduler.refill(*retry, {event(1, "a")}, false);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));
  const auto more = scheduler.next_refill(Timestamp{1s});
  REQUIRE(more);
  scheduler.refill(*more, rest, true);
  for (int i = 6; i <= 8; ++i) scheduler.offer(event(i, "b" + std::to_string(i)));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2", "e6", "e7", "e8"});
}

TEST_CASE("a chain that is not allowed any more ends when what is in flight has landed") {
  auto scheduler = chained(10);
  for (int i = 1; i <= 3; ++i) scheduler.offer(event(i, "a"));
  CHECK(send_all(scheduler, 2) == std::vector<std::string>{"e1", "e2"});
  scheduler.allow_chain(false);
  CHECK(send_all(scheduler).empty());
  REQUIRE(scheduler.stored(token["e1"]));
  REQUIRE(scheduler.stored(token["e2"]));
  const auto third = scheduler.next_send();
  REQUIRE(third);
  CHECK(third->after.empty());
}

TEST_CASE("a chain that becomes allowed begins with a head that goes alone") {
  PublishScheduler scheduler{10};
  scheduler.allow_chain(false);
  for (int i = 1; i <= 4; ++i) scheduler.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(scheduler, 1) == std::vector<std::string>{"e1"});
  scheduler.allow_chain(true);
  CHECK(send_all(scheduler).empty());
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2"});
  REQUIRE(scheduler.stored(token["e2"]));
  const auto third = scheduler.next_send();
  REQUIRE(third);
  CHECK(third->after == "e2");
}

TEST_CASE("a chain that is not allowed is not tried again after a failure, and is once it is allowed") {
  PublishScheduler scheduler{10};
  scheduler.allow_chain(false);
  std::int64_t position = 0;
  bool fail = true;
  const auto chains_within = [&](int events) {
    for (int i = 0; i < events; ++i) {
      scheduler.offer(event(++position, "a"));
      auto next = scheduler.next_send();
      REQUIRE(next);
      if (std::exchange(fail, false)) {
        scheduler.returned(next->token);
        next = scheduler.next_send();
        REQUIRE(next);
      }
      if (!next->after.empty() || scheduler.chained()) return true;
      REQUIRE(scheduler.stored(next->token));
    }
    return false;
  };
  CHECK_FALSE(chains_within(5000));
  scheduler.allow_chain(true);
  CHECK(chains_within(5000));
}

TEST_CASE("after a refusal nothing is sent until all that was in flight has landed") {
  auto scheduler = chained(10);
  for (int i = 1; i <= 4; ++i) scheduler.offer(event(i, "a" + std::to_string(i)));
  REQUIRE(send_all(scheduler, 3).size() == 3);
  const auto in_ten_minutes = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{10min}; };
  REQUIRE(scheduler.refused(token["e1"], in_ten_minutes));
  scheduler.offer(event(5, "a5"));
  CHECK(send_all(scheduler).empty());
  scheduler.returned(token["e2"]);
  CHECK(send_all(scheduler).empty());
  scheduler.returned(token["e3"]);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2", "e3", "e4", "e5"});
  CHECK(scheduler.blocked() == 1);
}

TEST_CASE("a refused event's successors stay in the table until it is stored, others go on") {
  auto scheduler = chained(10);
  for (const auto& [position, aggregate] : {std::pair{1, "bad"}, {2, "bad"}, {3, "good"}})
    scheduler.offer(event(position, aggregate));
  send_all(scheduler);
  REQUIRE(scheduler.refused(token["e1"],
                            [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{1s}; }));
  scheduler.returned(token["e2"]);
  scheduler.returned(token["e3"]);
  scheduler.offer(event(4, "bad"));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e3"});
  CHECK(scheduler.left_behind() == 2);
  CHECK_FALSE(scheduler.next_refill(Timestamp{999ms}));

  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  CHECK(retry->aggregate_id == "bad");
  CHECK(retry->after.row == 1);
  scheduler.refill(*retry, {event(1, "bad")}, true);
  REQUIRE(scheduler.stored(token["e3"]));
  const auto again = scheduler.next_send();
  REQUIRE(again);
  CHECK(again->event->id == "e1");
  REQUIRE(scheduler.stored(again->token));

  const auto rest = scheduler.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK(rest->after.row == 1);
  scheduler.refill(*rest, {event(2, "bad"), event(4, "bad")}, true);
  CHECK(scheduler.left_behind() == 0);
  CHECK(send_all(scheduler).front() == "e2");
}

TEST_CASE("the count of attempts does not wait for the table to show it") {
  auto scheduler = chained(10);
  scheduler.offer(event(1, "a"));
  const auto again = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{}; };
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto next = scheduler.next_send();
    REQUIRE(next);
    CHECK(scheduler.refused(next->token, again)->retry_count == attempt);
    const auto retry = scheduler.next_refill(Timestamp{});
    REQUIRE(retry);
    scheduler.refill(*retry, {event(1, "a")}, true);  // as it was before the first attempt
  }
}

TEST_CASE("an outcome that comes twice, or for an event that is gone, changes nothing") {
  auto scheduler = chained(10);
  scheduler.offer(event(1, "a"));
  send_all(scheduler);
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK_FALSE(scheduler.stored(token["e1"]));
  scheduler.returned(token["e1"]);
  scheduler.offer(event(2, "a"));  // takes the slot over
  send_all(scheduler);
  CHECK_FALSE(scheduler.stored(token["e1"]));
  CHECK(scheduler.in_flight() == 1);
}

TEST_CASE("a probe sends one event until one is stored") {
  auto scheduler = chained(10);
  for (int i = 1; i <= 3; ++i) scheduler.offer(event(i, "a" + std::to_string(i)));
  send_all(scheduler);
  for (const auto* id : {"e1", "e2", "e3"}) scheduler.returned(token[id]);
  scheduler.probe();
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  scheduler.returned(token["e1"]);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2", "e3"});
}

TEST_CASE("an aggregate found FAILED at start is blocked until its time, and its rows are counted") {
  auto scheduler = chained(10);
  scheduler.block(event(5, "a"), Timestamp{1s});
  scheduler.offer(event(6, "a"));
  scheduler.offer(event(7, "b"));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e7"});
  CHECK(scheduler.blocked() == 1);
  CHECK(scheduler.next_retry() == Timestamp{1s});
  CHECK(scheduler.left_behind() == 1);
  const auto retry = scheduler.next_refill(Timestamp{2s});
  REQUIRE(retry);
  CHECK(retry->after.row == 5);
}

TEST_CASE("a row that is gone when its retry is due frees its aggregate") {
  auto scheduler = chained(10);
  scheduler.block(event(5, "a"), Timestamp{0s});
  const auto retry = scheduler.next_refill(Timestamp{0s});
  REQUIRE(retry);
  scheduler.refill(*retry, {}, true);
  scheduler.offer(event(6, "a"));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e6"});
}
