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

std::vector<std::string> send_all(PublishScheduler& lanes, std::size_t most = 1000) {
  std::vector<std::string> ids;
  while (ids.size() < most) {
    const auto next = lanes.next_send();
    if (!next) break;
    ids.push_back(next->event->id);
    token[next->event->id] = next->token;
  }
  return ids;
}

/// One whose chain has a head already: "e0".
PublishScheduler chained(std::size_t window) {
  PublishScheduler lanes{window};
  lanes.offer(event(0, "head"));
  REQUIRE(send_all(lanes).size() == 1);
  REQUIRE(lanes.stored(token["e0"]));
  return lanes;
}

}  // namespace

TEST_CASE("without failures everything is sent at once, in commit order, each chained to the one before") {
  auto lanes = chained(10);
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, i % 2 == 0 ? "even" : "odd"));
  std::vector<std::string> after;
  while (const auto next = lanes.next_send()) after.push_back(next->after);
  CHECK(after == std::vector<std::string>{"e0", "e1", "e2", "e3"});
  CHECK(lanes.in_flight() == 4);
}

TEST_CASE("the head of a chain goes alone, and one that the stream had already carries none") {
  PublishScheduler lanes{10};
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  SECTION("stored") {
    REQUIRE(lanes.stored(token["e1"]));
    CHECK(lanes.next_send()->after == "e1");
  }
  SECTION("known") {
    REQUIRE(lanes.stored(token["e1"], true));
    CHECK_FALSE(lanes.chained());
    CHECK(lanes.next_send()->after.empty());
    CHECK(send_all(lanes) == std::vector<std::string>{"e3", "e4"});
  }
  SECTION("not stored") {
    lanes.returned(token["e1"]);
    CHECK_FALSE(lanes.chained());
    CHECK(send_all(lanes).size() == 4);
  }
}

TEST_CASE(
    "where no chain is allowed an event waits for the one of its aggregate, and all behind wait with it") {
  PublishScheduler lanes{10};
  lanes.allow_chain(false);
  int position = 0;
  for (const char* aggregate : {"a", "b", "a", "c"}) lanes.offer(event(++position, aggregate));
  CHECK(send_all(lanes) == std::vector<std::string>{"e1", "e2"});
  REQUIRE(lanes.stored(token["e2"]));
  CHECK(send_all(lanes).empty());
  REQUIRE(lanes.stored(token["e1"]));
  while (const auto next = lanes.next_send()) {
    CHECK(next->after.empty());
    token[next->event->id] = next->token;
  }
  CHECK(lanes.in_flight() == 2);
  REQUIRE(lanes.stored(token["e3"]));
  REQUIRE(lanes.stored(token["e4"]));
}

TEST_CASE("where no chain is allowed others pass the events of an aggregate that failed") {
  PublishScheduler lanes{10};
  lanes.allow_chain(false);
  int position = 0;
  for (const char* aggregate : {"a", "a", "b", "b"}) lanes.offer(event(++position, aggregate));
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  lanes.returned(token["e1"]);
  CHECK(send_all(lanes) == std::vector<std::string>{"e1", "e3"});
  REQUIRE(lanes.stored(token["e3"]));
  CHECK(send_all(lanes) == std::vector<std::string>{"e4"});
}

TEST_CASE(
    "where no chain is allowed, commit order is kept again when no lane has rows in the table any more") {
  PublishScheduler lanes{1000};
  lanes.allow_chain(false);
  std::int64_t position = 0;
  const auto publish_another = [&] {
    lanes.offer(event(++position, "b"));
    const auto ids = send_all(lanes);
    REQUIRE(ids == std::vector<std::string>{"e" + std::to_string(position)});
    REQUIRE(lanes.stored(token[ids[0]]));
  };
  const auto others_pass = [&] {
    for (const char* aggregate : {"b", "b", "c"}) lanes.offer(event(++position, aggregate));
    const auto sent = send_all(lanes).size();
    for (auto at = position - 2; at <= position; ++at) {
      REQUIRE(lanes.stored(token["e" + std::to_string(at)]));
      send_all(lanes);
    }
    return sent == 2;
  };
  lanes.offer(event(++position, "a"));
  CHECK(send_all(lanes).size() == 1);
  lanes.returned(token["e1"]);
  std::vector<OutboxEvent> rest;
  for (int i = 0; i < 99; ++i) {
    rest.push_back(event(++position, "a"));
    lanes.offer(rest.back());
  }
  CHECK(send_all(lanes).size() == 1);
  CHECK(lanes.left_behind() > 0);
  for (int i = 0; i < 5000; ++i) publish_another();
  CHECK(others_pass());

  const auto left = static_cast<std::size_t>(lanes.left_behind());
  for (std::size_t at = 1; at <= 100 - left; ++at) {
    REQUIRE(lanes.stored(token["e" + std::to_string(at)]));
    send_all(lanes);
  }
  const auto request = lanes.next_refill({});
  REQUIRE(request);
  lanes.refill(*request, {rest.end() - static_cast<std::ptrdiff_t>(left), rest.end()}, true);
  for (auto at = 101 - left; at <= 100; ++at) {
    send_all(lanes);
    REQUIRE(lanes.stored(token["e" + std::to_string(at)]));
  }
  publish_another();
  CHECK_FALSE(others_pass());
}

TEST_CASE("where no chain is allowed others pass what a blocked aggregate had left in the table") {
  PublishScheduler lanes{100};
  lanes.allow_chain(false);
  lanes.block(event(1, "a"), Timestamp{1s});
  std::vector<OutboxEvent> rest;
  for (int i = 2; i <= 5; ++i) {
    rest.push_back(event(i, "a"));
    lanes.offer(rest.back());
  }
  const auto retry = lanes.next_refill(Timestamp{1s});
  REQUIRE(retry);
  lanes.refill(*retry, {event(1, "a")}, false);
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  REQUIRE(lanes.stored(token["e1"]));
  const auto more = lanes.next_refill(Timestamp{1s});
  REQUIRE(more);
  lanes.refill(*more, rest, true);
  for (int i = 6; i <= 8; ++i) lanes.offer(event(i, "b" + std::to_string(i)));
  CHECK(send_all(lanes) == std::vector<std::string>{"e2", "e6", "e7", "e8"});
}

TEST_CASE("a chain that is not allowed any more ends when what is in flight has landed") {
  auto lanes = chained(10);
  for (int i = 1; i <= 3; ++i) lanes.offer(event(i, "a"));
  CHECK(send_all(lanes, 2) == std::vector<std::string>{"e1", "e2"});
  lanes.allow_chain(false);
  CHECK(send_all(lanes).empty());
  REQUIRE(lanes.stored(token["e1"]));
  REQUIRE(lanes.stored(token["e2"]));
  const auto third = lanes.next_send();
  REQUIRE(third);
  CHECK(third->after.empty());
}

TEST_CASE("a chain that becomes allowed begins with a head that goes alone") {
  PublishScheduler lanes{10};
  lanes.allow_chain(false);
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(lanes, 1) == std::vector<std::string>{"e1"});
  lanes.allow_chain(true);
  CHECK(send_all(lanes).empty());
  REQUIRE(lanes.stored(token["e1"]));
  CHECK(send_all(lanes) == std::vector<std::string>{"e2"});
  REQUIRE(lanes.stored(token["e2"]));
  const auto third = lanes.next_send();
  REQUIRE(third);
  CHECK(third->after == "e2");
}

TEST_CASE("a chain that is not allowed is not tried again after a failure, and is once it is allowed") {
  PublishScheduler lanes{10};
  lanes.allow_chain(false);
  std::int64_t position = 0;
  bool fail = true;
  const auto chains_within = [&](int events) {
    for (int i = 0; i < events; ++i) {
      lanes.offer(event(++position, "a"));
      auto next = lanes.next_send();
      REQUIRE(next);
      if (std::exchange(fail, false)) {
        lanes.returned(next->token);
        next = lanes.next_send();
        REQUIRE(next);
      }
      if (!next->after.empty() || lanes.chained()) return true;
      REQUIRE(lanes.stored(next->token));
    }
    return false;
  };
  CHECK_FALSE(chains_within(5000));
  lanes.allow_chain(true);
  CHECK(chains_within(5000));
}

TEST_CASE("after a refusal nothing is sent until all that was in flight has landed") {
  auto lanes = chained(10);
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  REQUIRE(send_all(lanes, 3).size() == 3);
  const auto in_ten_minutes = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{10min}; };
  REQUIRE(lanes.refused(token["e1"], in_ten_minutes));
  lanes.offer(event(5, "a5"));
  CHECK(send_all(lanes).empty());
  lanes.returned(token["e2"]);
  CHECK(send_all(lanes).empty());
  lanes.returned(token["e3"]);
  CHECK(send_all(lanes) == std::vector<std::string>{"e2", "e3", "e4", "e5"});
  CHECK(lanes.blocked() == 1);
}

TEST_CASE("a refused event's successors stay in the table until it is stored, others go on") {
  auto lanes = chained(10);
  for (const auto& [position, aggregate] : {std::pair{1, "bad"}, {2, "bad"}, {3, "good"}})
    lanes.offer(event(position, aggregate));
  send_all(lanes);
  REQUIRE(lanes.refused(token["e1"],
                        [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{1s}; }));
  lanes.returned(token["e2"]);
  lanes.returned(token["e3"]);
  lanes.offer(event(4, "bad"));
  CHECK(send_all(lanes) == std::vector<std::string>{"e3"});
  CHECK(lanes.left_behind() == 2);
  CHECK_FALSE(lanes.next_refill(Timestamp{999ms}));

  const auto retry = lanes.next_refill(Timestamp{1s});
  REQUIRE(retry);
  CHECK(retry->aggregate_id == "bad");
  CHECK(retry->after.row == 1);
  lanes.refill(*retry, {event(1, "bad")}, true);
  REQUIRE(lanes.stored(token["e3"]));
  const auto again = lanes.next_send();
  REQUIRE(again);
  CHECK(again->event->id == "e1");
  REQUIRE(lanes.stored(again->token));

  const auto rest = lanes.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK(rest->after.row == 1);
  lanes.refill(*rest, {event(2, "bad"), event(4, "bad")}, true);
  CHECK(lanes.left_behind() == 0);
  CHECK(send_all(lanes).front() == "e2");
}

TEST_CASE("the count of attempts does not wait for the table to show it") {
  auto lanes = chained(10);
  lanes.offer(event(1, "a"));
  const auto again = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{}; };
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto next = lanes.next_send();
    REQUIRE(next);
    CHECK(lanes.refused(next->token, again)->retry_count == attempt);
    const auto retry = lanes.next_refill(Timestamp{});
    REQUIRE(retry);
    lanes.refill(*retry, {event(1, "a")}, true);  // as it was before the first attempt
  }
}

TEST_CASE("an outcome that comes twice, or for an event that is gone, changes nothing") {
  auto lanes = chained(10);
  lanes.offer(event(1, "a"));
  send_all(lanes);
  REQUIRE(lanes.stored(token["e1"]));
  CHECK_FALSE(lanes.stored(token["e1"]));
  lanes.returned(token["e1"]);
  lanes.offer(event(2, "a"));  // takes the slot over
  send_all(lanes);
  CHECK_FALSE(lanes.stored(token["e1"]));
  CHECK(lanes.in_flight() == 1);
}

TEST_CASE("a probe sends one event until one is stored") {
  auto lanes = chained(10);
  for (int i = 1; i <= 3; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  send_all(lanes);
  for (const auto* id : {"e1", "e2", "e3"}) lanes.returned(token[id]);
  lanes.probe();
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  lanes.returned(token["e1"]);
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  REQUIRE(lanes.stored(token["e1"]));
  CHECK(send_all(lanes) == std::vector<std::string>{"e2", "e3"});
}

TEST_CASE("an aggregate found FAILED at start is blocked until its time, and its rows are counted") {
  auto lanes = chained(10);
  lanes.block(event(5, "a"), Timestamp{1s});
  lanes.offer(event(6, "a"));
  lanes.offer(event(7, "b"));
  CHECK(send_all(lanes) == std::vector<std::string>{"e7"});
  CHECK(lanes.blocked() == 1);
  CHECK(lanes.next_retry() == Timestamp{1s});
  CHECK(lanes.left_behind() == 1);
  const auto retry = lanes.next_refill(Timestamp{2s});
  REQUIRE(retry);
  CHECK(retry->after.row == 5);
}

TEST_CASE("a row that is gone when its retry is due frees its aggregate") {
  auto lanes = chained(10);
  lanes.block(event(5, "a"), Timestamp{0s});
  const auto retry = lanes.next_refill(Timestamp{0s});
  REQUIRE(retry);
  lanes.refill(*retry, {}, true);
  lanes.offer(event(6, "a"));
  CHECK(send_all(lanes) == std::vector<std::string>{"e6"});
}
