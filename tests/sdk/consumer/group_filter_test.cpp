// Filters on the server: a group is handed the types that have handlers, and its durable grows with them.

#include "support/consuming.hpp"
#include "support/log.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

using Filters = std::vector<std::string>;

/// What the server in use can do, from 2.10 on.
bool takes_several(Scene& scene) { return scene.js.api("STREAM.INFO.AUTH_EVENTS").contains("ts"); }

/// None while an older server makes the durable again; then it also tells of it without its settings.
Filters filters(Scene& scene) try {
  const auto config = scene.js.consumer_config("AUTH_EVENTS", "mailer");
  auto all = config.value("filter_subjects", Filters{});
  if (const auto one = config.value("filter_subject", std::string{}); !one.empty()) all.push_back(one);
  std::ranges::sort(all);
  return all;
} catch (const std::exception&) {
  return {};
}

const Filters one_type{"auth.events.user.created"};

Filters two_types(Scene& scene) {
  if (!takes_several(scene)) return {"auth.events.>"};
  return {"auth.events.order.paid", "auth.events.user.created"};
}

ConsumerOptions by_type(const Scene& scene) {
  auto options = scene.options();
  options.filter = ConsumerOptions::Filter::by_type;
  return options;
}

/// A release that handles orders as well.
void take_orders(Instance& instance) {
  instance.consumer.on("order.paid", [](const Delivery&) {});
}

bool is_ready(const Instance& instance) { return instance.consumer.status().ready(); }

void set_filter(Scene& scene, const std::string& filter) {
  auto config = scene.js.consumer_config("AUTH_EVENTS", "mailer");
  config.erase("filter_subjects");
  config["filter_subject"] = filter;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", config);
}

}  // namespace

TEST_CASE("a group is handed the types that have handlers") {
  Scene scene;
  Instance instance{scene.inbox(), with_workers(by_type(scene), GENERATE(0, 2)), nothing};
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  CHECK(filters(scene) == one_type);
  scene.publish("renamed", "{}", "user.renamed");
  scene.publish("created");
  REQUIRE_WITHIN(20s, instance.stats().handled == 1 && scene.group().num_ack_pending == 0);
  CHECK(scene.group().num_pending == 0);
  CHECK(instance.stats().received == 1);
  CHECK(instance.stats().ignored == 0);
}

TEST_CASE("a group with several types is handed these, or all of an older server") {
  Scene scene;
  Instance instance{scene.inbox(), by_type(scene)};
  take_orders(instance);
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  CHECK(filters(scene) == two_types(scene));
  scene.publish("created");
  scene.publish("paid", "{}", "order.paid");
  scene.publish("renamed", "{}", "user.renamed");
  REQUIRE_WITHIN(20s, instance.stats().handled == 2 && scene.group().num_ack_pending == 0);
  REQUIRE_WITHIN(20s, instance.stats().ignored == (takes_several(scene) ? 0 : 1));
}

TEST_CASE("a group with handlers for all that begins alike is handed what begins so") {
  Scene scene;
  Instance instance{scene.inbox(), by_type(scene)};
  instance.consumer.on("user.*", [](const Delivery&) {});
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  CHECK(filters(scene) == Filters{"auth.events.user.>"});
  for (const auto* type : {"user.created", "user.mail.changed", "order.paid"})
    scene.publish(type, "{}", type);
  REQUIRE_WITHIN(20s, instance.stats().handled == 2 && scene.group().num_ack_pending == 0);
  CHECK(instance.stats().received == 2);
}

TEST_CASE("a release that handles more types widens the group beside the older one, and it stays so") {
  Scene scene;
  Instance older{scene.inbox(), by_type(scene)};
  older.start();
  scene.publish_many(20, "before");
  REQUIRE_WITHIN(20s, older.stats().handled == 20 && scene.group().num_ack_pending == 0);
  Instance newer{scene.inbox(), by_type(scene)};
  take_orders(newer);
  newer.start();
  REQUIRE_WITHIN(20s, is_ready(newer));
  CHECK(filters(scene) == two_types(scene));
  REQUIRE_WITHIN(20s, is_ready(older));
  scene.publish_many(20, "after");
  REQUIRE_WITHIN(30s, scene.effects().size() == 40 && scene.group().num_ack_pending == 0);
  older.stop();
  scene.publish("paid", "{}", "order.paid");
  REQUIRE_WITHIN(30s, newer.stats().by_type["order.paid"].handled == 1);
  older.start();
  REQUIRE_WITHIN(20s, is_ready(older));
  CHECK(filters(scene) == two_types(scene));
  older.stop();
  newer.stop();
  CHECK(unique(scene.effects()).size() == 40);
  CHECK(older.error().empty());
  CHECK(newer.error().empty());
}

TEST_CASE("what was not settled when a group is widened comes again, and nothing takes effect twice") {
  Scene scene;
  {
    Instance older{scene.inbox(), by_type(scene), on_event("event-1", [] { throw RetryAfter{1h}; })};
    older.start();
    scene.publish_many(3);
    REQUIRE_WITHIN(20s, older.stats().handled == 2 && scene.group().num_ack_pending == 1);
  }
  Instance newer{scene.inbox(), by_type(scene)};
  newer.consumer.on("user.*", [](const Delivery&) {});
  newer.start();
  REQUIRE_WITHIN(20s, is_ready(newer));
  CHECK(filters(scene) == Filters{"auth.events.user.>"});
  scene.publish("renamed", "{}", "user.renamed");
  REQUIRE_WITHIN(20s, newer.stats().by_type["user.renamed"].handled == 1);
  // Made again by an older server, it has forgotten the hour.
  if (!takes_several(scene)) REQUIRE_WITHIN(20s, scene.effects().size() == 3);
  REQUIRE_WITHIN(20s, scene.group().num_ack_pending == (takes_several(scene) ? 1 : 0));
  newer.stop();
  CHECK(scene.effects().size() == (takes_several(scene) ? 2 : 3));
}

TEST_CASE("a durable of another hand that leaves out a type with a handler is an error, and is not changed") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"filter_subject", "auth.events.order.>"}});
  auto options = by_type(scene);
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK_THAT(instance.error(), ContainsSubstring("filter_subject auth.events.order.>, expected what lets "
                                                 "user.created through: these events would be missed"));
  CHECK_THAT(instance.error(), ContainsSubstring("CONSUMER_FILTER=whole_stream"));
  CHECK(filters(scene) == Filters{"auth.events.order.>"});
  options.filter = ConsumerOptions::Filter::whole_stream;  // its subjects name no types
  Instance other{scene.inbox(), options};
  other.start();
  REQUIRE_WITHIN(20s, is_ready(other));
  CHECK(filters(scene) == Filters{"auth.events.order.>"});
}

TEST_CASE("a durable that hands out more is used as it is, and that is said") {
  Scene scene;
  scene.js.add_consumer(
      "AUTH_EVENTS", "mailer",
      GENERATE(values<nlohmann::json>({{{"filter_subject", "auth.events.>"}}, nlohmann::json::object()})));
  const auto before = filters(scene);
  const Log log;
  Instance instance{scene.inbox(), by_type(scene)};
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  CHECK_THAT(log.text(), ContainsSubstring("hands out more than types with handlers"));
  CHECK(filters(scene) == before);
  scene.publish("renamed", "{}", "user.renamed");
  scene.publish("created");
  REQUIRE_WITHIN(20s, instance.stats().handled == 1 && instance.stats().ignored == 1);
}

TEST_CASE("a group that was made by type is widened to the whole stream for one that asks for it") {
  Scene scene;
  {
    Instance instance{scene.inbox(), by_type(scene)};
    instance.start();
    REQUIRE_WITHIN(20s, is_ready(instance));
  }
  REQUIRE(filters(scene) == one_type);
  auto options = by_type(scene);
  const bool may_change = GENERATE(true, false);
  options.manage_streams = may_change;
  options.filter = ConsumerOptions::Filter::whole_stream;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  CHECK(filters(scene) == (may_change ? Filters{"auth.events.>"} : one_type));
  if (!may_change) return;
  scene.js.publish("auth.events.legacy", "{}",
                   {{"ce-specversion", "1.0"}, {"ce-id", "old"}, {"ce-type", "user.created"}});
  REQUIRE_WITHIN(20s, scene.effects().size() == 1);
}

TEST_CASE("a group whose filter is narrowed under its consumer is widened again") {
  Scene scene;
  Instance instance{scene.inbox(), by_type(scene)};
  instance.consumer.on("user.*", [](const Delivery&) {});
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  set_filter(scene, "auth.events.user.renamed");
  REQUIRE_WITHIN(30s, filters(scene) == Filters{"auth.events.user.>"});
  const auto handled = instance.stats().handled;
  scene.publish("created");
  REQUIRE_WITHIN(30s, instance.stats().handled > handled);
}

TEST_CASE("a group of a stream that has partitions is handed these as well") {
  Scene scene;
  const auto publish = [&scene](const std::string& id) {
    scene.js.publish("auth.events.p1of2.user.created", "{}",
                     {{"ce-specversion", "1.0"}, {"ce-id", id}, {"ce-type", "user.created"}});
  };
  publish("before");
  Instance instance{scene.inbox(), by_type(scene)};
  instance.start();
  REQUIRE_WITHIN(20s, is_ready(instance));
  CHECK(filters(scene) == Filters{"auth.events.>"});
  publish("after");
  // Without its partition, the subject stands in for a type that is missing.
  scene.js.publish("auth.events.p1of2.user.created", "{}", {{"ce-specversion", "1.0"}, {"ce-id", "untyped"}});
  REQUIRE_WITHIN(20s, scene.effects().size() == 3);
}
