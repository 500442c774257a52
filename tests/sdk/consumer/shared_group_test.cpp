// Instances that share a group, and groups that share a stream.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr std::int64_t second = 1'000'000'000;

}  // namespace

TEST_CASE("instances of a group share its messages, each message once") {
  Scene scene;
  auto options = scene.options();
  options.prefetch = options.max_batch = 5;
  const auto slow = [](const Delivery&, Tx&) { take_time(1ms); };
  Instance one{scene.inbox(), options, slow}, other{scene.inbox("other"), options, slow};
  one.start();
  other.start();
  REQUIRE_WITHIN(10s, scene.has_group() && scene.group().num_waiting >= 2);
  scene.publish_many(100);
  REQUIRE_WITHIN(20s, scene.all_acked());
  one.stop();
  other.stop();
  CHECK(one.stats().handled + other.stats().handled == 100);
  CHECK(one.stats().handled > 0);
  CHECK(other.stats().handled > 0);
}

TEST_CASE("any number of instances may make their group at the same moment") {
  Scene scene;
  std::vector<std::unique_ptr<Instance>> instances;
  for (int i = 0; i < 6; ++i)
    instances.push_back(
        std::make_unique<Instance>(scene.inbox("inbox_" + std::to_string(i)), scene.options()));
  for (auto& instance : instances) instance->start();
  REQUIRE_WITHIN(10s, scene.has_group() && scene.group().num_waiting == 6);
  for (const auto& instance : instances) CHECK(instance->error().empty());
}

TEST_CASE("groups of one stream each get every message, also in one inbox file") {
  Scene scene;
  scene.publish_many(10);
  auto audit = scene.options();
  audit.group = "audit";
  Instance one{scene.inbox(), scene.options()}, other{scene.inbox(), audit};
  one.start();
  other.start();
  REQUIRE_WITHIN(10s, one.stats().handled == 10 && other.stats().handled == 10);
  CHECK(scene.effects().size() == 20);
}

TEST_CASE("an existing push consumer with a deliver group is joined by any number of instances") {
  Scene scene;
  scene.js.add_consumer(
      "AUTH_EVENTS", "mailer",
      {{"deliver_subject", "to.mailers"}, {"deliver_group", "mailers"}, {"ack_wait", 30 * second}});
  const auto slow = [](const Delivery&, Tx&) { take_time(1ms); };
  Instance one{scene.inbox(), scene.options(), slow}, other{scene.inbox(), scene.options(), slow};
  one.start();
  other.start();
  scene.publish("first");
  REQUIRE_WITHIN(10s, scene.all_acked());
  scene.publish_many(50);
  REQUIRE_WITHIN(20s, scene.all_acked());
  one.stop();
  other.stop();
  CHECK(one.stats().handled + other.stats().handled == 51);
  CHECK(one.stats().duplicates + other.stats().duplicates == 0);
  CHECK(scene.effects().size() == 51);
}
