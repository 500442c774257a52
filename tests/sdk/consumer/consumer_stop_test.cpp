// When a run ends: told to, or because all is handled.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

TEST_CASE("a consumer that is to exit when idle handles all there is, and then waits that long") {
  Scene scene;
  scene.publish_many(20);
  auto options = scene.options();
  options.exit_when_idle = 300ms;
  Instance instance{scene.inbox(), options};
  const auto begun = steady_clock::now();
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(steady_clock::now() - begun >= 300ms);
  CHECK(instance.error().empty());
  CHECK(scene.effects().size() == 20);
  CHECK(scene.all_acked());
}

TEST_CASE("time in a handler is not idle time") {
  Scene scene;
  scene.publish_many(4);
  auto options = scene.options();
  options.max_batch = 1;
  options.exit_when_idle = 50ms;
  Instance instance{scene.inbox(), options, [](const Delivery&, Tx&) { take_time(100ms); }};
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 4);
}

TEST_CASE("a stop under load nacks at once what was not started") {
  Scene scene;
  scene.publish_many(300);
  auto options = scene.options();
  options.max_batch = 50;
  Instance leaving{scene.inbox(), options, [](const Delivery&, Tx&) { take_time(5ms); }};
  leaving.start();
  REQUIRE_WITHIN(10s, leaving.stats().handled >= 10);
  const auto asked = steady_clock::now();
  leaving.stop();
  CHECK(steady_clock::now() - asked < 10s);
  CHECK(leaving.error().empty());
  const auto before = leaving.stats().handled;
  REQUIRE(before < 300);

  Instance staying{scene.inbox(), options};
  staying.start();
  const auto begun = steady_clock::now();
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(steady_clock::now() - begun < 15s);  // the ack wait is 30 s
  staying.stop();
  CHECK(before + staying.stats().handled == 300);
  CHECK(staying.stats().duplicates == 0);
  CHECK(scene.effects().size() == 300);
}

TEST_CASE("a running handler is finished and acked at a stop") {
  Scene scene;
  std::atomic<bool> inside{false};
  Instance instance{scene.inbox(), scene.options(), [&](const Delivery&, Tx&) {
                      inside = true;
                      take_time(200ms);
                    }};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, inside.load());
  instance.stop();
  CHECK(instance.stats().handled == 1);
  CHECK(scene.all_acked());
  CHECK(scene.effects().size() == 1);
}

TEST_CASE("an idle consumer stops at once, and may run again") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  for (int round = 1; round <= 2; ++round) {
    instance.start();
    scene.publish("event-" + std::to_string(round));
    REQUIRE_WITHIN(10s, scene.has_group() && scene.group().acked_to == static_cast<std::uint64_t>(round));
    const auto asked = steady_clock::now();
    instance.stop();
    CHECK(steady_clock::now() - asked < 10s);
    CHECK(instance.error().empty());
  }
  CHECK(instance.stats().handled == 2);
}
