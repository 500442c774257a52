// What waits in a strict group: for a retry, behind one, for bytes, for workers that hang.

#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/strict_order.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <atomic>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a strict group holds what follows an event that fails, and nobody else") {
  Scene scene;
  auto options = strict(scene.options());
  options.max_ack_pending = 10;
  options.prefetch = 500;
  std::atomic<bool> available{false};
  Instance instance{scene.inbox(), options, on_event("a-1", [&] {
                      if (!available) throw RetryAfter{300ms};
                    })};
  scene.publish_for("a", "a-1");
  scene.publish_for("a", "a-2");
  scene.publish_for("b", "b-1");
  scene.publish_for("b", "b-2");
  instance.start();
  REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"b-1", "b-2"});
  REQUIRE_WITHIN(20s, instance.stats().held_keys == 1);
  publish_to_keys(scene, 0, 50);
  REQUIRE_WITHIN(20s, scene.effects().size() == 52);
  available = true;
  REQUIRE_WITHIN(20s, scene.effects().size() == 54 && scene.all_acked());
  instance.stop();
  CHECK(out_of_order(scene.effects()) == std::vector<std::string>{});
}

TEST_CASE("a dead letter ends a strict group's hold") {
  Scene scene;
  auto options = strict(scene.options());
  options.max_attempts = 3;
  Instance instance{scene.inbox(), options, on_event("a-1", [] { throw std::runtime_error("no"); })};
  for (const auto* const id : {"a-1", "a-2", "a-3"}) scene.publish_for("a", id);
  instance.start();
  REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"a-2", "a-3"} && scene.all_acked());
  CHECK(scene.dead_letters().size() == 1);
  CHECK(instance.calls_for("a-1").size() == 3);
}

TEST_CASE("a stop during a hold keeps the order") {
  Scene scene;
  for (const auto* const id : {"a-1", "a-2", "a-3"}) scene.publish_for("a", id);
  {
    Instance owner{scene.inbox(), strict(scene.options()), on_event("a-1", [] { throw RetryAfter{1h}; })};
    owner.start();
    REQUIRE_WITHIN(20s, owner.stats().held_keys == 1);
    scene.publish_for("b", "b-1");
    REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"b-1"});
  }
  Instance next{scene.inbox(), strict(scene.options())};
  next.start();
  REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"b-1", "a-1", "a-2", "a-3"});
  REQUIRE_WITHIN(20s, scene.all_acked());
}

TEST_CASE("one event of a strict group that waits for its retry does not slow others down") {
  Scene scene;
  auto options = strict(scene.options());
  options.max_batch = 10;
  Instance instance{scene.inbox(), options, on_event("a-1", [] { throw RetryAfter{1h}; })};
  scene.publish_for("a", "a-1");
  publish_to_keys(scene, 0, 300);
  instance.start();
  // In 30 batches, none of which waits for anything.
  REQUIRE_WITHIN(15s, scene.effects().size() == 300);
  CHECK(instance.stats().held_keys == 1);
}

TEST_CASE("a strict group whose bytes all wait for a retry says so, and in which key") {
  Scene scene;
  auto options = strict(scene.options());
  options.prefetch_bytes = 64 * 1024;
  Instance instance{scene.inbox(), options, on_event("a-1", [] { throw RetryAfter{1h}; })};
  scene.publish_for("a", "a-1");
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().held_keys == 1);
  const std::string large = "{\"padding\":\"" + std::string(20 * 1024, 'x') + "\"}";
  for (int i = 2; i < 10; ++i) scene.publish_for("a", "a-" + std::to_string(i), large);
  REQUIRE_WITHIN(20s, instance.consumer.status().reason.find("prefetch_bytes) wait for a retry, most of a") !=
                          std::string::npos);
}

TEST_CASE("a stream that is made again beside a hold is handled, and nothing spins") {
  Scene scene;
  Instance instance{scene.inbox(), strict(scene.options()), on_event("a-5", [] { throw RetryAfter{1h}; })};
  for (int i = 1; i < 5; ++i) scene.publish_for("b", "b-" + std::to_string(i));
  scene.publish_for("a", "a-5");
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().held_keys == 1);
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(20s, scene.js.has_stream("AUTH_EVENTS"));
  scene.publish_for("a", "a-9");
  REQUIRE_WITHIN(20s, std::ranges::count(scene.effects(), "a-9") == 1);
  CHECK(instance.stats().commits < 100);
}

TEST_CASE("workers that all hang leave a strict group to a standby") {
  Scene scene;
  Gate gate;
  auto options = with_workers(strict(scene.options()), 2);
  options.handler_time_limit = 500ms;
  Instance owner{scene.inbox(), options, Instance::WorkersHandler{[&gate](const Delivery&) { gate.pass(); }}};
  owner.start();
  REQUIRE_WITHIN(20s, owner.consumer.status().state == ConsumerStatus::State::running);
  Instance standby{scene.inbox(), options, Instance::WorkersHandler{[](const Delivery&) {}}};
  standby.start();
  for (const auto* const key : {"a", "b", "c"}) scene.publish_for(key, std::string{key} + "-1");
  REQUIRE_WITHIN(30s, standby.stats().handled == 3 && scene.all_acked());
  gate.open();
}
