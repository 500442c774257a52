// When to pull and for how much, without a server.

#include "consumer/pull_loop.hpp"

#include "support/catch.hpp"

using namespace tidings;
using namespace std::chrono_literals;
using Kind = PullStatus::Kind;

namespace {

constexpr PullLoop::Time start{1h};

Group group() {
  Group group;
  group.durable = "mailer";
  return group;
}

PullLoop a_loop() { return {group(), {.messages = 100, .bytes = 1U << 20, .handlers = 2}, start}; }

PullStatus status(Kind kind, std::optional<int> missing = {}) {
  return {.kind = kind, .missing = missing, .text = {}};
}

PullRequest send(PullLoop& loop, PullLoop::Time now) {
  const auto request = loop.due(0, 0, now);
  REQUIRE(request);
  loop.on_sent(*request, now);
  return *request;
}

/// One that has asked for 100 messages and has been answered.
PullLoop a_steady_loop() {
  auto loop = a_loop();
  send(loop, start);
  loop.on_status(status(Kind::heartbeat), start);
  REQUIRE(loop.is<PullLoop::Steady>());
  return loop;
}

}  // namespace

TEST_CASE("a pull asks for all the room there is, and for quick signs of life until one came") {
  auto loop = a_loop();
  CHECK(loop.is<PullLoop::Probing>());
  const auto first = send(loop, start);
  CHECK(first.count == 100);
  CHECK(first.heartbeat == 250ms);
  CHECK(first.max_bytes == (1U << 20) / 8);
  CHECK_FALSE(loop.due(0, 0, start));
  loop.on_messages(60, start);
  CHECK(loop.is<PullLoop::Steady>());
  CHECK_FALSE(loop.due(60, 0, start));  // not taken yet
  const auto second = loop.due(5, 0, start);
  REQUIRE(second);
  CHECK(second->count == 55);
  CHECK(second->expires == 10s);
}

TEST_CASE("nothing is asked for while the bytes that are here are more than half of what may be") {
  const auto loop = a_loop();
  CHECK_FALSE(loop.due(0, (1U << 19) + 1, start));
  CHECK(loop.due(0, 1U << 19, start));
}

TEST_CASE("a pull asks for no more than the durable allows") {
  auto limited = group();
  limited.max_request_batch = 5;
  limited.max_expires = 400ms;
  limited.max_request_bytes = 1000;
  auto loop = a_loop();
  loop.on_rejoined(limited);
  CHECK(send(loop, start).json() ==
        R"({"batch":5,"expires":400000000,"idle_heartbeat":200000000,"max_bytes":1000})");
}

TEST_CASE("a pull that ends makes room for another, by what did not come of it") {
  auto loop = a_steady_loop();
  loop.on_status(status(Kind::ended, 70), start);
  CHECK(loop.due(0, 0, start)->count == 70);
  loop.on_status(status(Kind::ended), start);  // an older server: all of it
  CHECK(loop.due(0, 0, start)->count == 100);
}

TEST_CASE("a pull whose end the server does not tell of is over a little after its time") {
  auto loop = a_steady_loop();
  const auto first_end = start + 1s;
  loop.on_messages(60, start + 900ms);
  const auto second = loop.due(0, 0, start + 900ms);
  REQUIRE(second);
  loop.on_sent(*second, start + 900ms);
  const auto end = start + 900ms + second->expires;
  CHECK_FALSE(loop.expired(first_end + 251ms));  // the second lasts
  loop.on_status(status(Kind::heartbeat), end);
  CHECK_FALSE(loop.expired(end + 250ms));
  CHECK(loop.next_alarm(end, end + 1h) == end + 251ms);
  CHECK(loop.expired(end + 251ms));
  CHECK_FALSE(loop.due(0, 0, end + 251ms));
  loop.on_expired();
  CHECK(loop.due(0, 0, end + 251ms)->count == 100);
  CHECK_FALSE(loop.expired(end + 1h));  // nothing is asked for
}

TEST_CASE("a message that does not fit into a pull's bytes is asked for alone, once") {
  auto loop = a_steady_loop();
  loop.on_status(status(Kind::too_large, 10), start);
  const auto request = send(loop, start);
  CHECK(request.count == 1);
  CHECK_FALSE(request.max_bytes);
  loop.on_status(status(Kind::ended), start);
  CHECK(loop.due(0, 0, start)->max_bytes);
}

TEST_CASE("silence is noticed sooner while nothing has been answered, and then one message is asked for") {
  auto loop = a_loop();
  CHECK_FALSE(loop.silent(start + 1h));  // nothing was asked for
  send(loop, start);
  CHECK_FALSE(loop.silent(start + 500ms));
  CHECK(loop.silent(start + 501ms));
  auto steady = a_steady_loop();
  CHECK_FALSE(steady.silent(start + 4s));
  CHECK(steady.silent(start + 4001ms));
  for (auto* silent : {&loop, &steady}) {
    silent->on_silence();
    CHECK(silent->is<PullLoop::Unanswered>());
    CHECK(send(*silent, start + 5s).count == 1);
    silent->on_status(status(Kind::heartbeat), start + 5s);
    CHECK(silent->is<PullLoop::Steady>());
  }
}

TEST_CASE("where nobody serves the durable, pulls wait a little") {
  auto loop = a_steady_loop();
  loop.on_status(status(Kind::no_responders), start);
  CHECK(loop.is<PullLoop::Unanswered>());
  CHECK_FALSE(loop.due(0, 0, start + 99ms));
  CHECK(loop.next_alarm(start, start + 1h) == start + 100ms);
  CHECK(loop.due(0, 0, start + 100ms));
}

TEST_CASE("a new leader and a new connection know nothing of older pulls") {
  auto loop = a_steady_loop();
  loop.on_new_leader(start);
  CHECK(loop.is<PullLoop::Probing>());
  CHECK_FALSE(loop.due(0, 0, start));  // it is about to begin
  CHECK(loop.due(0, 0, start + 50ms)->count == 100);

  loop = a_steady_loop();
  loop.on_status(status(Kind::other, 1), start);  // which pauses
  loop.on_reconnect();
  CHECK(loop.is<PullLoop::Probing>());
  CHECK(loop.due(0, 0, start)->count == 100);

  loop = a_steady_loop();
  loop.on_silence();
  loop.on_reconnect();
  CHECK(loop.is<PullLoop::Unanswered>());  // until there is an answer
}

TEST_CASE("after a deletion nothing is pulled before the group was joined again") {
  auto loop = a_steady_loop();
  loop.on_status(status(Kind::deleted), start);
  REQUIRE(loop.is<PullLoop::MustRejoin>());
  CHECK(std::get<PullLoop::MustRejoin>(loop.state()).after == 200ms);
  CHECK_FALSE(loop.due(0, 0, start + 1h));
  loop.on_messages(1, start);
  loop.on_status(status(Kind::heartbeat), start);
  loop.on_reconnect();
  loop.on_silence();
  CHECK(loop.is<PullLoop::MustRejoin>());
  loop.on_rejoined(group());
  CHECK(loop.is<PullLoop::Probing>());
  CHECK(loop.due(0, 0, start));
}

TEST_CASE("a refusal stays known until a pull is answered, and not by what is said of older ones") {
  auto loop = a_steady_loop();
  CHECK(loop.refusal().empty());
  loop.on_status({.kind = Kind::refused, .missing = {}, .text = "Exceeded MaxRequestBatch of 5"}, start);
  REQUIRE(loop.is<PullLoop::MustRejoin>());
  CHECK(std::get<PullLoop::MustRejoin>(loop.state()).after == 1s);
  loop.on_status(status(Kind::ended), start);
  CHECK(loop.refusal() == "Exceeded MaxRequestBatch of 5");
  loop.on_rejoined(group());
  CHECK(loop.is<PullLoop::Refused>());
  CHECK(loop.refusal() == "Exceeded MaxRequestBatch of 5");
  send(loop, start);
  loop.on_status(status(Kind::heartbeat), start);
  CHECK(loop.refusal().empty());
}

TEST_CASE("a durable that became a push consumer is joined again at once") {
  auto loop = a_steady_loop();
  loop.on_status(status(Kind::became_push), start);
  REQUIRE(loop.is<PullLoop::MustRejoin>());
  CHECK(std::get<PullLoop::MustRejoin>(loop.state()).after == 0ms);
}

TEST_CASE("a loop that is stopped stays so") {
  auto loop = a_steady_loop();
  loop.stop();
  loop.on_deleted();
  loop.on_rejoined(group());
  loop.on_messages(1, start);
  loop.on_silence();
  CHECK(loop.is<PullLoop::Stopped>());
  CHECK_FALSE(loop.due(0, 0, start + 1h));
  CHECK_FALSE(loop.silent(start + 1h));
}

TEST_CASE("a pull that could not be sent is tried again a little later") {
  auto loop = a_steady_loop();
  loop.on_status(status(Kind::too_large), start);
  loop.on_not_sent(start);
  CHECK_FALSE(loop.due(0, 0, start));
  CHECK(loop.due(0, 0, start + 100ms)->count == 1);  // of any size still
}

TEST_CASE(
    "what is asked for is a quarter of a second of the handlers' work, as measured, within the prefetch") {
  PullLoop loop{group(), {.messages = 2000, .bytes = 1U << 20}, start};
  const auto settle = [&loop](int count, std::chrono::nanoseconds took) {
    for (int i = 0; i < count; ++i) loop.on_settled(took);
  };
  CHECK(loop.due(0, 0, start)->count == 64);  // before anything is known
  settle(1000, 10us);
  CHECK(loop.due(0, 0, start)->count == 2000);
  settle(2500, 10ms);
  CHECK(loop.due(0, 0, start)->count == 25);
  CHECK(loop.due(12, 0, start)->count == 13);
  CHECK_FALSE(loop.due(13, 0, start));
  settle(100, 10s);
  CHECK(loop.due(0, 0, start)->count == 4);
}

TEST_CASE("fast handlers of which one was held up once are fetched for as before") {
  PullLoop loop{group(), {.messages = 2000, .bytes = 1U << 20}, start};
  for (int i = 0; i < 2000; ++i) loop.on_settled(10us);
  loop.on_settled(100ms);
  CHECK(loop.due(0, 0, start)->count >= 500);
  for (int i = 0; i < 500; ++i) loop.on_settled(10us);
  CHECK(loop.due(0, 0, start)->count >= 1800);
}

TEST_CASE("handlers side by side are fetched more for, and what waits for its key does not count") {
  PullLoop loop{group(), {.messages = 100, .bytes = 1U << 20, .handlers = 8}, start};
  for (int i = 0; i < 1000; ++i) loop.on_settled(10s);
  CHECK(loop.due(0, 0, start)->count == 16);
  loop.on_behind_their_keys(20);
  CHECK(loop.due(0, 0, start)->count == 36);
  loop.on_behind_their_keys(1000);
  CHECK(loop.due(0, 0, start)->count == 100);
}

TEST_CASE("what is far too much for three seconds is to go back, and what is so for a moment is not") {
  PullLoop loop{group(), {.messages = 2000, .bytes = 1U << 20}, start};
  CHECK(loop.excess(128, start) == 0);
  for (int i = 0; i < 2500; ++i) loop.on_settled(50ms);  // 5 are enough
  CHECK(loop.excess(500, start) == 0);
  CHECK(loop.excess(500, start + 2999ms) == 0);
  CHECK(loop.excess(10, start + 3s) == 0);
  CHECK(loop.excess(500, start + 4s) == 0);
  CHECK(loop.excess(500, start + 7s) == 495);
  CHECK(loop.excess(400, start + 7s) == 395);
  CHECK(loop.excess(5, start + 7s) == 0);
  CHECK(loop.excess(500, start + 7s) == 0);
}
