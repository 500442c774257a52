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

const auto in_a_second = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{1s}; };

}  // namespace

TEST_CASE("events of different aggregates are sent at once, in commit order") {
  PublishScheduler scheduler{10};
  for (int i = 1; i <= 4; ++i) scheduler.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1", "e2", "e3", "e4"});
  CHECK(scheduler.in_flight() == 4);
}

TEST_CASE("an event waits for the one of its aggregate that is in flight, and others pass it") {
  PublishScheduler scheduler{10};
  int position = 0;
  for (const char* aggregate : {"a", "b", "a", "a", "c"}) scheduler.offer(event(++position, aggregate));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1", "e2", "e5"});
  REQUIRE(scheduler.stored(token["e2"]));
  CHECK(send_all(scheduler).empty());
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e3"});
  REQUIRE(scheduler.stored(token["e3"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e4"});
}

TEST_CASE("what may go again goes before what came later") {
  PublishScheduler scheduler{10};
  int position = 0;
  for (const char* aggregate : {"a", "a", "b", "c"}) scheduler.offer(event(++position, aggregate));
  CHECK(send_all(scheduler, 2) == std::vector<std::string>{"e1", "e3"});
  scheduler.offer(event(5, "d"));
  scheduler.returned(token["e3"]);
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2", "e3", "e4", "e5"});
}

TEST_CASE("an event that was not stored goes again before its aggregate's next") {
  PublishScheduler scheduler{10};
  for (int i = 1; i <= 2; ++i) scheduler.offer(event(i, "a"));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  scheduler.returned(token["e1"]);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2"});
}

TEST_CASE("behind a refused event its millisecond is read without what was settled of it, whatever the ids") {
  PublishScheduler scheduler{10};
  const auto offer = [&scheduler](int id) {
    auto made = event(id, "a");
    made.position = {"2026-03-01 10:00:00.123", made.id};
    scheduler.offer(made);
    return made;
  };
  offer(5);
  const auto refused = offer(1), last = offer(3);
  REQUIRE(send_all(scheduler, 1) == std::vector<std::string>{"e5"});
  REQUIRE(scheduler.stored(token["e5"]));
  REQUIRE(send_all(scheduler, 1) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.refused(token["e1"], Timestamp{}, in_a_second));
  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  CHECK(retry->retry);
  scheduler.refill(*retry, {refused}, false);
  REQUIRE(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));
  const auto rest = scheduler.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK_FALSE(rest->retry);
  CHECK(rest->after == refused.position);
  CHECK(rest->settled_beside == std::vector<std::string>{"e5", "e1"});
  scheduler.refill(*rest, {last}, true);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e3"});
}

TEST_CASE("a refused event's successors stay in the table until it is stored, others go on") {
  PublishScheduler scheduler{10};
  for (const auto& [position, aggregate] : {std::pair{1, "bad"}, {2, "bad"}, {3, "good"}})
    scheduler.offer(event(position, aggregate));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1", "e3"});
  REQUIRE(scheduler.refused(token["e1"], Timestamp{}, in_a_second));
  CHECK(scheduler.blocked() == 1);
  scheduler.offer(event(4, "bad"));
  CHECK(send_all(scheduler).empty());
  CHECK(scheduler.left_behind() == 2);
  CHECK_FALSE(scheduler.next_refill(Timestamp{999ms}));

  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  CHECK(retry->aggregate_id == "bad");
  CHECK(retry->after.row == 1);
  scheduler.refill(*retry, {event(1, "bad")}, true);
  REQUIRE(scheduler.stored(token["e3"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));

  const auto rest = scheduler.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK(rest->after.row == 1);
  scheduler.refill(*rest, {event(2, "bad"), event(4, "bad")}, true);
  CHECK(scheduler.left_behind() == 0);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2"});
}

TEST_CASE("an event that is refused for the last time lets its aggregate's next go on") {
  PublishScheduler scheduler{10};
  for (int i = 1; i <= 2; ++i) scheduler.offer(event(i, "a"));
  send_all(scheduler);
  REQUIRE(scheduler.refused(token["e1"], Timestamp{},
                            [](const OutboxEvent&) { return std::optional<Timestamp>{}; }));
  CHECK(scheduler.blocked() == 0);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2"});
}

TEST_CASE("an event that fails before a row found FAILED behind it goes first again") {
  PublishScheduler scheduler{10};
  scheduler.block(event(1, "a"), Timestamp{0s});
  const auto retry = scheduler.next_refill(Timestamp{0s});
  REQUIRE(retry);
  scheduler.refill(*retry, {event(1, "a")}, false);
  scheduler.block(event(2, "a"), Timestamp{0s});  // found by the same reading
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  SECTION("not stored") {
    scheduler.returned(token["e1"]);
    CHECK_FALSE(scheduler.next_refill(Timestamp{1s}));
    CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  }
  SECTION("refused") {
    REQUIRE(scheduler.refused(token["e1"], Timestamp{}, in_a_second));
    CHECK_FALSE(scheduler.next_refill(Timestamp{999ms}));
    CHECK(scheduler.blocked() == 1);
    CHECK(scheduler.next_refill(Timestamp{1s})->after.row == 1);
  }
}

TEST_CASE("the count of attempts does not wait for the table to show it") {
  PublishScheduler scheduler{10};
  scheduler.offer(event(1, "a"));
  const auto again = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{}; };
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto next = scheduler.next_send();
    REQUIRE(next);
    CHECK(scheduler.refused(next->token, Timestamp{}, again)->retry_count == attempt);
    const auto retry = scheduler.next_refill(Timestamp{});
    REQUIRE(retry);
    scheduler.refill(*retry, {event(1, "a")}, true);  // as it was before the first attempt
  }
}

TEST_CASE("an outcome that comes twice, or for an event that is gone, changes nothing") {
  PublishScheduler scheduler{10};
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
  PublishScheduler scheduler{10};
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
  PublishScheduler scheduler{10};
  scheduler.block(event(5, "a"), Timestamp{1s});
  scheduler.offer(event(6, "a"));
  scheduler.offer(event(7, "b"));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e7"});
  CHECK(scheduler.blocked() == 1);
  CHECK(scheduler.next_retry(Timestamp{0s}) == Timestamp{1s});
  CHECK_FALSE(scheduler.next_retry(Timestamp{1s}));
  CHECK(scheduler.left_behind() == 1);
  const auto retry = scheduler.next_refill(Timestamp{2s});
  REQUIRE(retry);
  CHECK(retry->after.row == 5);
}

TEST_CASE("a row that is gone when its retry is due frees its aggregate") {
  PublishScheduler scheduler{10};
  scheduler.block(event(5, "a"), Timestamp{0s});
  const auto retry = scheduler.next_refill(Timestamp{0s});
  REQUIRE(retry);
  scheduler.refill(*retry, {}, true);
  scheduler.offer(event(6, "a"));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e6"});
}

TEST_CASE(
    "a row that another program takes holds up what comes after it in its aggregate, and nothing before") {
  PublishScheduler scheduler{30};
  const bool batches = GENERATE(false, true);
  scheduler.allow_batches(batches);
  int position = 0;
  for (; position < 20; ++position) scheduler.offer(event(position + 1, "a"));
  scheduler.offer(event(21, "b"));
  if (!batches) CHECK(send_all(scheduler) == std::vector<std::string>{"e1", "e21"});
  if (batches) CHECK(send_all(scheduler) == std::vector<std::string>{"e21"});
  scheduler.notice(event(3, "a"), Timestamp{1s});
  scheduler.notice(event(5, "a"), Timestamp{1s});
  CHECK(scheduler.blocked() == 1);
  if (batches) CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(send_all(scheduler) == std::vector<std::string>{"e2"});
  CHECK_FALSE(scheduler.next_refill(Timestamp{1s}));
  REQUIRE(scheduler.stored(token["e2"]));
  CHECK(send_all(scheduler).empty());
  CHECK_FALSE(scheduler.next_refill(Timestamp{999ms}));
  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  CHECK(retry->after.row == 3);
  scheduler.refill(*retry, {}, true);  // settled by the other
  const auto rest = scheduler.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK_FALSE(rest->retry);
  CHECK(rest->after.row == 3);
}

TEST_CASE("a retry of this processor's own is nobody else's") {
  PublishScheduler scheduler{10};
  scheduler.offer(event(1, "a"));
  scheduler.offer(event(2, "b"));
  send_all(scheduler);
  scheduler.notice(event(1, "a"), Timestamp{});  // in flight: it has been taken too late
  CHECK(scheduler.blocked() == 0);
  REQUIRE(scheduler.refused(token["e1"], Timestamp{5s}, in_a_second));
  auto seen = event(1, "a");
  seen.status = RowStatus::failed;
  seen.updated_at = Timestamp{5s};
  scheduler.notice(seen, Timestamp{9s});
  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  scheduler.refill(*retry, {seen}, true);
  seen.status = RowStatus::processing;
  scheduler.notice(seen, Timestamp{9s});
  CHECK(scheduler.blocked() == 0);
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
}

TEST_CASE("an earlier row that another program takes goes before the one that its aggregate waits for") {
  PublishScheduler scheduler{10};
  scheduler.notice(event(5, "a"), Timestamp{1s});
  scheduler.notice(event(3, "a"), Timestamp{2s});
  CHECK(scheduler.blocked() == 1);
  CHECK_FALSE(scheduler.next_refill(Timestamp{1s}));
  const auto first = scheduler.next_refill(Timestamp{2s});
  REQUIRE(first);
  CHECK(first->after.row == 3);
  scheduler.refill(*first, {}, true);
  CHECK(scheduler.next_refill(Timestamp{2s}));  // where the other is found again
}

TEST_CASE("rows that are yet to be read hold up the aggregate where they are met") {
  PublishScheduler scheduler{10};
  scheduler.offer(event(1, "a"));
  scheduler.offer(event(2, "a"));
  send_all(scheduler);
  REQUIRE(scheduler.refused(token["e1"], Timestamp{}, in_a_second));
  const auto retry = scheduler.next_refill(Timestamp{1s});
  REQUIRE(retry);
  scheduler.refill(*retry, {event(1, "a")}, false);
  scheduler.notice(event(3, "a"), Timestamp{9s});  // behind e2, which is in the table
  CHECK(send_all(scheduler) == std::vector<std::string>{"e1"});
  REQUIRE(scheduler.stored(token["e1"]));
  CHECK(scheduler.blocked() == 0);
  const auto rest = scheduler.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK(rest->after.row == 1);
}
