// When a message that fails comes again, and what others do meanwhile.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;
using std::chrono::milliseconds;

namespace {

[[noreturn]] void fail() { throw std::runtime_error("mail server down"); }

}  // namespace

TEST_CASE("a message that fails comes back after growing delays, alone and with its count") {
  Scene scene;
  auto options = scene.options();
  options.backoff = {.base = 100ms, .max = 10s};
  int failures = 3;
  Instance instance{scene.inbox(), options, on_event("bad", [&failures] {
                      if (failures-- > 0) fail();
                    })};
  scene.publish("good");
  scene.publish("bad");
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  const auto calls = instance.calls_for("bad");
  REQUIRE(calls.size() == 4);
  for (std::size_t i = 1; i < calls.size(); ++i) {
    const int attempt = static_cast<int>(i);
    CHECK(calls[i].attempt == attempt + 1);
    CHECK(calls[i].delivered == i + 1);
    const auto spacing = calls[i].at - calls[i - 1].at;
    CHECK(spacing >= options.backoff.delay(attempt, "bad"));
  }
  CHECK(instance.stats().retried == 3);
  CHECK(instance.stats().handled == 2);
  CHECK(scene.effects() == std::vector<std::string>{"good", "bad"});
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("RetryAfter is honoured") {
  Scene scene;
  bool first = true;
  Instance instance{scene.inbox(), scene.options(), on_event("one", [&first] {
                      if (std::exchange(first, false)) throw RetryAfter(400ms, "rate limit");
                    })};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  const auto calls = instance.calls();
  REQUIRE(calls.size() == 2);
  CHECK(calls[1].at - calls[0].at >= 400ms);
  CHECK(calls[1].attempt == 2);
  CHECK(scene.effects() == std::vector<std::string>{"one"});
}

TEST_CASE("a retry keeps its delay while the rest of its batch is still worked on") {
  Scene scene;
  auto options = scene.options();
  options.ack_wait = 300ms;  // much less than the delay: what keeps the rest alive must not touch the retry
  bool first = true;
  Instance instance{scene.inbox(), options, [&first](const Delivery& delivery, Tx&) {
                      if (delivery.event.id != "one") return take_time(150ms);
                      if (std::exchange(first, false)) throw RetryAfter(2s, "rate limit");
                    }};
  scene.publish("one");
  scene.publish_many(5);
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  const auto calls = instance.calls_for("one");
  REQUIRE(calls.size() == 2);
  CHECK(calls[1].at - calls[0].at >= 2s);
  CHECK(calls[1].delivered == 2);
}

TEST_CASE("a failing message delays no other") {
  Scene scene;
  auto options = scene.options();
  options.backoff = {.base = 60s, .max = 60s};
  Instance instance{scene.inbox(), options, on_event("bad", fail)};
  scene.publish("bad");
  scene.publish_many(20);
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 20);
  CHECK(scene.effects().size() == 20);
}
