// Where a group begins that a consumer makes, and how much it may have open.

#include "support/consuming.hpp"

#include <tidings/timestamp.hpp>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a new group begins where it is told to, and an existing one goes on") {
  const auto at = GENERATE(Start::At::all, Start::At::now, Start::At::since);
  const bool any_since = GENERATE(true, false);  // 2.9.10 passes over the last event of a stream
  Scene scene;
  scene.publish("old");
  const auto before = now();
  REQUIRE_WITHIN(5s, now() > before + 1ms);
  auto options = scene.options();
  options.start = {at, now()};
  REQUIRE_WITHIN(5s, now() > options.start.time + 1ms);
  if (at == Start::At::since && any_since) scene.publish("since");
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().ready());
  scene.publish("new");
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  scene.publish("meanwhile");
  instance.start();  // the group is there: it goes on
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  std::vector<std::string> expected{"new", "meanwhile"};
  if (at == Start::At::all) expected.insert(expected.begin(), "old");
  if (at == Start::At::since && any_since) expected.insert(expected.begin(), "since");
  CHECK(scene.effects() == expected);
}

TEST_CASE("a group that did not begin with all loses nothing when it is made again, nor takes more") {
  const bool since = GENERATE(false, true);
  Scene scene;
  scene.publish("old");
  const auto before = now();
  REQUIRE_WITHIN(5s, now() > before + 1ms);
  auto options = scene.options();
  options.start = {since ? Start::At::since : Start::At::now, now()};
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().ready());
  scene.publish("one");
  REQUIRE_WITHIN(20s, scene.all_acked());
  for (const std::string id : {"two", "three"}) {
    const auto handled = instance.stats().handled;
    scene.js.delete_consumer("AUTH_EVENTS", "mailer");
    scene.publish(id);
    REQUIRE_WITHIN(20s, instance.stats().handled == handled + 1 && scene.all_acked());
  }
  CHECK(scene.effects() == std::vector<std::string>{"one", "two", "three"});
}

TEST_CASE("a group is made with the limit of open messages that its consumer has") {
  Scene scene;
  auto options = scene.options();
  options.max_ack_pending = 77;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, scene.has_group());
  CHECK(scene.js.consumer_config("AUTH_EVENTS", "mailer").at("max_ack_pending") == 77);
}
