// Where a consumer's messages come from, without the consumer.

#include "consumer/puller.hpp"

#include "support/consuming.hpp"
#include "support/log.hpp"
#include "support/puller_scene.hpp"

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

TEST_CASE("a source that is stopped waits as long as it is told, also when its group is gone") {
  PullerScene scene{10};
  auto& source = scene.puller;
  REQUIRE_WITHIN(10s, source.take(10, 10ms, {}).empty() && scene.group().num_waiting == 1);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  const auto deleted = steady_clock::now();
  CHECK(source.take(10, 20s, {}).empty());
  REQUIRE(steady_clock::now() - deleted < 10s);  // it is told at once
  source.stop(steady_clock::now() + 5s, {});
  const auto begun = steady_clock::now();
  CHECK(source.take(0, 100ms, {}).empty());
  CHECK(steady_clock::now() - begun >= 100ms);
}

TEST_CASE("that pulls are refused stays known when an older pull is told of after it") {
  PullerScene scene{20};
  auto& source = scene.puller;
  REQUIRE_WITHIN(10s, source.take(20, 10ms, {}).empty() && scene.group().num_waiting == 1);
  auto config = scene.js.consumer_config("AUTH_EVENTS", "mailer");
  config["max_batch"] = 5;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", config);
  scene.publish_many(12);
  std::size_t taken = 0;
  REQUIRE_WITHIN(10s, [&] {  // and asks for more, which is refused
    for (auto& received : source.take(20, 10ms, {})) {
      source.ack(std::move(received));
      ++taken;
    }
    return taken == 12;
  }());
  REQUIRE_WITHIN(10s, scene.group().num_waiting == 0);  // the older one has expired
  REQUIRE(scene.connection.flush(5s));
  (void)source.take(0, 5s, {});
  CHECK_THAT(source.refused_pulls(), ContainsSubstring("Exceeded MaxRequestBatch of 5"));
  CHECK(source.rejoin_after());
}

// Before 2.10 the server drops such a pull without a word.
TEST_CASE("pulls that run out while messages come leave no gap") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"max_expires", 50'000'000}});
  auto options = scene.options();
  options.prefetch = 10'000;
  Instance instance{scene.inbox(), options};
  instance.start();
  const Log log;
  const auto end = steady_clock::now() + 5s;  // a hundred pulls
  std::uint64_t published = 0;
  while (steady_clock::now() < end) scene.publish(std::to_string(published++));
  REQUIRE_WITHIN(10s, instance.stats().handled == published);
  instance.stop();
  CHECK_THAT(log.text(), !ContainsSubstring("unanswered"));
}

TEST_CASE("an AckWait that is shortened is kept, and what is here comes again once at most") {
  PullerScene scene{1000};
  auto& source = scene.puller;
  constexpr std::size_t total = 4;
  scene.publish_many(total);
  std::vector<StreamMessagePtr> here;
  const auto take = [&] {
    for (auto& message : source.take(100, 10ms, {})) here.push_back(std::move(message));
  };
  REQUIRE_WITHIN(10s, (take(), here.size() == total));
  constexpr auto ack_wait = 500ms;
  auto config = scene.js.consumer_config("AUTH_EVENTS", "mailer");
  config["ack_wait"] = std::chrono::nanoseconds{ack_wait}.count();
  scene.js.add_consumer("AUTH_EVENTS", "mailer", config);
  // Who does not notice is sent them again after each AckWait.
  const auto shortened = steady_clock::now();
  REQUIRE_WITHIN(20s, (take(), steady_clock::now() > shortened + 6 * ack_wait));
  CHECK(here.size() > total);
  CHECK(here.size() <= 2 * total);
  CHECK(source.ack_wait() == ack_wait);
  for (auto& message : here) source.ack(std::move(message));
}

TEST_CASE("what comes again is taken before later messages that wait already") {
  PullerScene scene{10};
  auto& source = scene.puller;
  scene.publish_many(3);
  std::vector<StreamMessagePtr> taken;
  const auto take_one = [&] {
    for (auto& message : source.take(1, 10ms, {})) taken.push_back(std::move(message));
  };
  REQUIRE_WITHIN(10s, (take_one(), !taken.empty()));
  REQUIRE_WITHIN(10s, scene.gauges.in_flight == 3);
  source.nak(std::move(taken.front()));
  taken.clear();
  REQUIRE_WITHIN(10s, source.take(0, 50ms, {}).empty() && scene.gauges.in_flight == 3);
  REQUIRE(source.take(0, 200ms, {}).empty());  // reads what has come
  std::vector<std::uint64_t> order;
  REQUIRE_WITHIN(10s, (take_one(), taken.size() == 3));
  for (const auto& message : taken) order.push_back(message->delivery.stream_sequence);
  CHECK(order == std::vector<std::uint64_t>{1, 2, 3});
}
