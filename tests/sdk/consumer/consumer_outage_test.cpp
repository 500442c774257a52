// A consumer whose server or network fails under it.

#include "nats/handle.hpp"
#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/tcp_proxy.hpp"

#include <nats/nats.h>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

constexpr std::int64_t second = 1'000'000'000;

/// A server on which acks of the user `mute` are lost.
const char* const acks_lost = R"(authorization { users: [ { user: test, password: test }, {
  user: mute, password: mute, permissions: { publish: { deny: ["$JS.ACK.>"] } } } ] })";

ConsumerOptions as(const std::string& user, ConsumerOptions options) {
  options.connection.user = options.connection.password = user;
  return options;
}

}  // namespace

TEST_CASE("a message whose ack is lost comes back without a second effect") {
  Scene scene{acks_lost, "test:test@"};
  auto options = as("mute", scene.options());
  options.ack_wait = 200ms;
  Instance instance{scene.inbox(), options};
  scene.publish_many(5);
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().duplicates >= 10);
  instance.stop();
  CHECK(instance.calls().size() == 5);
  CHECK(instance.stats().handled == 5);
  CHECK(scene.effects().size() == 5);
}

TEST_CASE("what another instance handled and could not ack has no second effect here") {
  Scene scene{acks_lost, "test:test@"};
  auto options = as("mute", scene.options());
  options.ack_wait = 200ms;
  Instance mute{scene.inbox(), options};
  scene.publish_many(20);
  mute.start();
  REQUIRE_WITHIN(10s, mute.stats().handled == 20);
  mute.stop();
  Instance other{scene.inbox(), as("test", scene.options())};
  other.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(other.calls().empty());
  CHECK(other.stats().duplicates == 20);
  CHECK(scene.effects().size() == 20);
}

TEST_CASE("a connection cut while a handler runs costs a redelivery and no second effect") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.ack_wait = 300ms;
  Instance instance{scene.inbox(), options, on_event("one", [&] {
                      proxy.refuse(true);
                      proxy.cut();
                    })};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  CHECK(scene.group().num_ack_pending == 1);  // the ack went nowhere
  proxy.refuse(false);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.stats().duplicates >= 1);
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  scene.publish("two");
}

TEST_CASE("what is in flight while a server that was started again tells of the group is acked") {
  // It says another time at which the durable was made (2.9.10).
  Scene scene;
  Gate gate;
  auto options = scene.options();
  options.max_batch = 1;  // the others are in flight meanwhile
  Connection connection{options.connection};
  Instance instance{scene.inbox(), connection, options, on_event("first", [&gate] { gate.pass(); })};
  instance.start();
  REQUIRE_WITHIN(10s, instance.consumer.status().ready());
  scene.publish("first");
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  scene.server.stop();
  scene.server.start();
  scene.publish_many(50);
  REQUIRE_WITHIN(10s, connection.connected() && connection.generation() == 1);  // the first ack gets there
  gate.open();
  REQUIRE_WITHIN(20s, instance.stats().handled == 51);
  REQUIRE_WITHIN(20s, scene.all_acked());  // AckWait is 30 s
  instance.stop();
  CHECK(instance.stats().received == 51);
}

TEST_CASE("a server that is started again while a consumer runs is used within a second or so") {
  Scene scene;
  auto options = scene.options();
  options.ack_wait = 500ms;  // a killed server has forgotten acks
  Instance instance{scene.inbox(), options};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  auto fastest = steady_clock::duration::max();
  for (int round = 0; round < 3; ++round) {
    if (round == 1) {
      scene.server.kill();
    } else {
      scene.server.stop();
    }
    scene.server.start();
    scene.publish("after-" + std::to_string(round));
    const auto published = steady_clock::now();
    REQUIRE_WITHIN(10s, instance.stats().handled == static_cast<std::uint64_t>(round) + 2);
    fastest = std::min(fastest, steady_clock::now() - published);
  }
  CHECK(fastest < 1500ms);  // of several, since the machine may have its own pauses
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "after-0", "after-1", "after-2"});
}

TEST_CASE("a cut connection costs an idle consumer no second") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.ack_wait = 200ms;  // a message may still be sent into the old connection
  Instance instance{scene.inbox(), options};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  auto fastest = steady_clock::duration::max();
  for (std::uint64_t round = 1; round <= 3; ++round) {
    const auto accepted = proxy.accepted();
    proxy.cut();
    REQUIRE_WITHIN(10s, proxy.accepted() > accepted);
    scene.publish("after-" + std::to_string(round));
    const auto published = steady_clock::now();
    REQUIRE_WITHIN(10s, instance.stats().handled == round + 1);
    fastest = std::min(fastest, steady_clock::now() - published);
  }
  CHECK(fastest < 700ms);
}

TEST_CASE("a group that has a new leader is asked for messages at once") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, scene.has_group() && scene.group().num_waiting == 1);
  Connection connection{scene.options().connection};
  // Nothing is silent here, so that nothing else makes it ask again.
  REQUIRE(natsConnection_PublishString(native(connection),
                                       "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.AUTH_EVENTS.mailer",
                                       "{}") == NATS_OK);
  REQUIRE(connection.flush(5s));
  REQUIRE_WITHIN(5s, scene.group().num_waiting == 2);
}

TEST_CASE("a broker that is away at the start is waited for, and a stop ends the wait") {
  Scene scene;
  scene.server.stop();
  Instance instance{scene.inbox(), scene.options()}, other{scene.inbox("other"), scene.options()};
  instance.start();
  other.start();
  const auto begun = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > begun + 100ms);
  CHECK_FALSE(instance.ended());
  other.stop();
  CHECK(other.error().empty());
  scene.server.start();
  scene.publish("one");
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
}

TEST_CASE("a refused login ends the run with an error") {
  Scene scene{acks_lost, "test:test@"};
  Instance instance{scene.inbox(), as("stranger", scene.options())};
  instance.start();
  REQUIRE_WITHIN(10s, instance.ended());
  CHECK_THAT(instance.error(), ContainsSubstring("refuses the login"));
}

TEST_CASE("a stream that differs ends the run with an error") {
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"storage", "memory"}});
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.ended());
  CHECK_THAT(instance.error(), ContainsSubstring("storage memory, expected file"));
}

TEST_CASE("a consumer leaves the dedup window of a stream to its publisher") {
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"duplicate_window", second}});
  scene.js.add_stream("AUTH_DLQ", {"auth.dlq.>"}, {{"duplicate_window", 600 * second}});
  scene.publish("one");
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
}

TEST_CASE("a stream that does not exist yet is waited for when it must not be made") {
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.manage_streams = false;
  Instance instance{scene.inbox(), options};
  instance.start();
  const auto begun = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > begun + 200ms);
  CHECK_FALSE(instance.ended());
  CHECK_FALSE(scene.js.has_stream("AUTH_EVENTS"));
  proxy.refuse(true);  // a stream that is there without the group is an error, for this one
  proxy.cut();
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  proxy.refuse(false);
  scene.publish("one");
  REQUIRE_WITHIN(10s, instance.stats().handled + (instance.ended() ? 1 : 0) == 1);
  CHECK(instance.error().empty());
}

TEST_CASE("a group that is deleted while its consumer runs is made again, without second effects") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  REQUIRE_WITHIN(10s, scene.group().num_waiting == 1);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish("two");
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
}

TEST_CASE("a group that is deleted while its consumer is cut off is made again") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  Instance instance{scene.inbox(), consumer_of(proxy.url())};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  proxy.refuse(true);
  proxy.cut();
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish("two");
  proxy.refuse(false);
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
}

TEST_CASE("a consumer that is to exit when idle does not while it is cut off") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.exit_when_idle = 500ms;
  Instance instance{scene.inbox(), options};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  proxy.refuse(true);
  proxy.cut();
  REQUIRE_WITHIN(10s, scene.group().num_waiting == 0);  // else it may be sent into the old connection
  scene.publish("two");
  const auto cut = steady_clock::now();
  REQUIRE_WITHIN(10s, instance.ended() || steady_clock::now() > cut + 1200ms);
  CHECK_FALSE(instance.ended());
  proxy.refuse(false);
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 2);
  CHECK(instance.error().empty());
}

TEST_CASE("a consumer that is to exit when idle first has what came while nobody served its group") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = consumer_of(proxy.url());
  options.manage_streams = false;
  options.exit_when_idle = 300ms;
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  Instance instance{scene.inbox(), options};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  scene.js.delete_stream("AUTH_EVENTS");
  const auto deleted = steady_clock::now();
  REQUIRE_WITHIN(10s, instance.ended() || steady_clock::now() > deleted + 1s);
  REQUIRE_FALSE(instance.ended());
  proxy.refuse(true);  // a stream that is there without the group is an error, for this one
  proxy.cut();
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  scene.publish("two");
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  proxy.refuse(false);
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 2);
  CHECK(instance.error().empty());
}
