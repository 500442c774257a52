// A consumer and its durable: one that is lost and has to be made again, one that another hand has made or
// changes.

#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/log.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr std::int64_t second = 1'000'000'000;

/// Once the server and the inbox agree that everything is settled.
bool position_is(const Scene& scene, std::uint64_t sequence) {
  TestInbox inbox{scene.inbox()};
  inbox.join("mailer");
  const auto position = inbox.tables().position("AUTH_EVENTS");
  return position && position->settled_to == sequence;
}

/// As after years: nothing that was handled is remembered.
void forget_all(const Scene& scene) {
  TestInbox inbox{scene.inbox()};
  inbox.exec("DELETE FROM inbox");
}

}  // namespace

TEST_CASE("a durable that is deleted while its consumer is away goes on where the group stood") {
  Scene scene;
  scene.publish_many(20, "before");
  {
    Instance instance{scene.inbox(), scene.options()};
    instance.start();
    REQUIRE_WITHIN(10s, scene.all_acked());
    REQUIRE_WITHIN(15s, position_is(scene, 20));
  }
  forget_all(scene);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish_many(5, "after");
  Instance next{scene.inbox(), scene.options()};
  next.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  next.stop();
  CHECK(next.error().empty());
  CHECK(next.stats().received == 5);
  CHECK(scene.effects().size() == 25);
}

TEST_CASE("a durable that is deleted under its consumer goes on where the group stood") {
  Scene scene;
  scene.publish_many(20, "before");
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(15s, position_is(scene, 20));
  forget_all(scene);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish_many(5, "after");
  REQUIRE_WITHIN(15s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(instance.stats().received == 25);
  CHECK(scene.effects().size() == 25);
}

TEST_CASE("a durable that is deleted under a consumer with workers goes on where the group stood") {
  Scene scene;
  scene.publish_many(20, "before");
  Instance instance{scene.inbox(), with_workers(scene.options(), 4), nothing};
  instance.start();
  REQUIRE_WITHIN(15s, position_is(scene, 20));
  forget_all(scene);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish_many(5, "after");
  REQUIRE_WITHIN(15s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(instance.stats().received == 25);
}

TEST_CASE("what a lost durable had not settled comes again, with what came after it") {
  Scene scene;
  scene.publish_many(10, "settled");
  auto options = scene.options();
  options.max_batch = 1;
  Gate gate;
  {
    Instance instance{scene.inbox(), options, on_event("open-0", [&] { gate.pass(); })};
    instance.start();
    REQUIRE_WITHIN(15s, position_is(scene, 10));
    scene.publish_many(3, "open");
    REQUIRE_WITHIN(10s, gate.entered() == 1);
    scene.js.delete_consumer("AUTH_EVENTS", "mailer");
    instance.ask_to_stop();
    gate.open();
  }
  forget_all(scene);
  scene.publish("later");
  Instance next{scene.inbox(), scene.options()};
  next.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  next.stop();
  // The first of the open ones was committed at the stop, and could not be acked any more.
  CHECK(unique(ids_of(next.calls())) == std::vector<std::string>{"later", "open-0", "open-1", "open-2"});
}

TEST_CASE("a stream that takes the place of another is read from its beginning") {
  Scene scene;
  scene.publish_many(20, "old");
  {
    Instance instance{scene.inbox(), scene.options()};
    instance.start();
    REQUIRE_WITHIN(15s, position_is(scene, 20));
  }
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(10s, !scene.js.has_stream("AUTH_EVENTS"));
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  scene.publish_many(30, "new");
  Instance next{scene.inbox(), scene.options()};
  next.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  next.stop();
  CHECK(next.stats().handled == 30);
}

TEST_CASE("a push consumer with flow control is answered, and gives all that it has") {
  Scene scene;
  constexpr int total = 600;  // of 10 KB: unanswered, the server stops after 2 MB
  const auto data = '"' + std::string(10'000, 'x') + '"';
  for (int i = 0; i < total; ++i) scene.publish("event-" + std::to_string(i), data);
  scene.js.add_consumer("AUTH_EVENTS", "mailer",
                        {{"deliver_subject", "to.mailers"},
                         {"deliver_group", "mailers"},
                         {"flow_control", true},
                         {"idle_heartbeat", second},
                         {"max_ack_pending", 50000}});
  Instance one{scene.inbox(), scene.options()}, other{scene.inbox(), scene.options()};
  one.start();
  other.start();
  REQUIRE_WITHIN(30s, one.stats().handled + other.stats().handled == total);
  REQUIRE_WITHIN(10s, scene.all_acked());
}

TEST_CASE("a mirror and a stream with sources are read like any other") {
  const auto config = GENERATE(values<nlohmann::json>(
      {{{"mirror", {{"name", "AUTH_EVENTS"}}}}, {{"sources", {{{"name", "AUTH_EVENTS"}}}}}}));
  const bool manages = GENERATE(true, false);
  INFO(config.dump() << " manages " << manages);
  Scene scene;
  scene.publish_many(10);
  scene.js.add_stream("COPY", {}, config);
  REQUIRE_WITHIN(10s, scene.js.message_count("COPY") == 10);
  auto options = scene.options();
  options.stream = "COPY";
  options.manage_streams = manages;
  if (!manages) scene.js.add_consumer("COPY", "mailer");
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 10 || instance.ended());
  CHECK(instance.error().empty());
  instance.stop();
  CHECK(scene.effects().size() == 10);
}
