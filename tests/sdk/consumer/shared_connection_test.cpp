// Several consumers on one connection, which is their owner's.

#include "support/consuming.hpp"

#include <tidings/connection.hpp>

#include <fstream>
#include <iterator>
#include <optional>

using namespace tidings;
using namespace tidings::test;
using State = ConsumerStatus::State;

namespace {

ConsumerOptions of_group(const Scene& scene, const std::string& group) {
  auto options = scene.options();
  options.group = group;
  return options;
}

bool disconnected(const Instance& instance) {
  const auto status = instance.consumer.status();
  return status.state == State::waiting && status.reason == "NATS: not connected";
}

/// A thread's stack is two of them, for as long as nobody lets go of the thread.
std::ptrdiff_t memory_maps() {
  std::ifstream maps{"/proc/self/maps"};
  return std::count(std::istreambuf_iterator<char>{maps}, {}, '\n');
}

}  // namespace

TEST_CASE("consumers on one connection go on after a cut, and when one of them is gone") {
  Scene scene;
  Connection connection{scene.options().connection};
  Instance mailer{scene.inbox("mailer"), connection, of_group(scene, "mailer")};
  Instance audit{scene.inbox("audit"), connection, of_group(scene, "audit")};
  std::optional<Instance> passing{std::in_place, scene.inbox("passing"), connection,
                                  of_group(scene, "passing")};
  for (auto* instance : {&mailer, &audit, &*passing}) instance->start();
  scene.publish_many(20);
  for (auto* instance : {&mailer, &audit, &*passing}) REQUIRE_WITHIN(20s, instance->stats().handled == 20);
  REQUIRE_WITHIN(20s, scene.all_acked());

  scene.server.stop();
  REQUIRE_WITHIN(20s, disconnected(mailer) && disconnected(audit) && disconnected(*passing));
  scene.server.start();
  REQUIRE_WITHIN(20s, mailer.consumer.status().ready() && audit.consumer.status().ready());
  scene.publish_many(20, "second");
  REQUIRE_WITHIN(20s, passing->stats().handled > 20);
  passing.reset();
  scene.publish_many(20, "third");
  REQUIRE_WITHIN(20s, mailer.stats().handled == 60 && audit.stats().handled == 60);
  REQUIRE_WITHIN(20s, scene.all_acked());  // and not after AckWait
  for (auto* instance : {&mailer, &audit}) {
    CHECK(instance->calls().size() == 60);
    instance->stop();
    CHECK(instance->error().empty());
  }
  CHECK(connection.connected());
  CHECK(connection.generation() == 1);
}

TEST_CASE("what a consumer on a shared connection had goes back to its group when it stops") {
  Scene scene;
  Connection connection{scene.options().connection};
  std::atomic<bool> slow{true};
  auto options = scene.options();
  options.max_batch = 1;
  Instance first{scene.inbox(), connection, options, [&](const Delivery&, Tx&) {
                   while (slow) take_time(1ms);
                 }};
  scene.publish_many(50);
  first.start();
  REQUIRE_WITHIN(20s, first.stats().in_flight == 50);
  first.ask_to_stop();
  slow = false;
  first.stop();
  CHECK(first.stats().in_flight == 0);
  Instance second{scene.inbox(), connection, scene.options()};
  second.start();
  REQUIRE_WITHIN(20s, scene.all_acked());  // not after AckWait
  CHECK(first.stats().handled + second.stats().handled == 50);
}

TEST_CASE("the error of one consumer leaves a shared connection to the others") {
  Scene scene;
  Connection connection{scene.options().connection};
  Instance mailer{scene.inbox(), connection, scene.options()};
  auto options = of_group(scene, "missing");
  options.manage_streams = false;
  Instance broken{scene.inbox("broken"), connection, options};
  mailer.start();
  broken.start();
  REQUIRE_WITHIN(20s, broken.ended());
  CHECK_THAT(broken.error(), ContainsSubstring("the group missing does not exist"));
  scene.publish("one");
  REQUIRE_WITHIN(20s, mailer.stats().handled == 1);
  CHECK(mailer.consumer.status().ready());
}

TEST_CASE("what the server refuses to one group is no reason for another on the connection to wait") {
  Scene scene{R"(authorization { users: [ { user: admin, password: pw }, { user: app, password: pw,
                   permissions: { publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.*.audit"] } } } ] })",
              "admin:pw@"};
  auto options = scene.options();
  options.connection.user = "app";
  options.connection.password = "pw";
  Connection connection{options.connection};
  Instance mailer{scene.inbox(), connection, options};
  options.group = "audit";
  Instance audit{scene.inbox("audit"), connection, options};
  mailer.start();
  audit.start();
  REQUIRE_WITHIN(20s, audit.consumer.status().reason.find("CONSUMER.MSG.NEXT") != std::string::npos);
  REQUIRE_WITHIN(20s, mailer.consumer.status().ready());
  scene.publish("one");
  REQUIRE_WITHIN(20s, mailer.stats().handled == 1);
  CHECK(mailer.consumer.status().ready());
  CHECK_FALSE(connection.refusal().empty());
  CHECK_FALSE(audit.consumer.status().ready());
}

TEST_CASE("the loss of a shared connection for good ends each run, also one that begins later") {
  Scene scene{"authorization { token: first }", "first@"};
  auto options = scene.options();
  options.connection.token = "first";
  Connection connection{options.connection};
  Instance mailer{scene.inbox(), connection, options};
  auto audit_options = options;
  audit_options.group = "audit";
  Instance audit{scene.inbox("audit"), connection, audit_options};
  mailer.start();
  audit.start();
  REQUIRE_WITHIN(20s, mailer.consumer.status().ready() && audit.consumer.status().ready());
  scene.server.reload("authorization { token: second }");
  REQUIRE_WITHIN(20s, mailer.ended() && audit.ended());
  CHECK_THAT(mailer.error(), ContainsSubstring("closed the connection for good"));
  CHECK_THAT(audit.error(), ContainsSubstring("closed the connection for good"));
  mailer.start();
  REQUIRE_WITHIN(20s, mailer.ended());
  CHECK_THAT(mailer.error(), ContainsSubstring("closed the connection for good"));
}

TEST_CASE("a consumer that comes and goes leaves nothing on a shared connection") {
  Scene scene;
  Connection connection{scene.options().connection};
  Instance mailer{scene.inbox(), connection, scene.options()};
  mailer.start();
  const auto round = [&](int number) {
    scene.publish("event-" + std::to_string(number));
    REQUIRE_WITHIN(20s, mailer.stats().handled == static_cast<std::uint64_t>(number));
    mailer.consumer.pause();
    REQUIRE_WITHIN(20s, mailer.consumer.status().state == State::paused);
    mailer.consumer.resume();
  };
  for (int i = 1; i <= 10; ++i) round(i);
  const auto before = memory_maps();
  for (int i = 11; i <= 50; ++i) round(i);
  CHECK(memory_maps() - before < 60);  // three subscriptions a round, each with a thread
}
