// A consumer while what it reads from changes under it: purged, deleted, restarted, limited in bytes.

#include "support/consuming.hpp"
#include "support/sanitizers.hpp"
#include "support/sized_json.hpp"
#include "support/tcp_proxy.hpp"

#include <malloc.h>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

constexpr std::int64_t second = 1'000'000'000;

/// A handler that stays until it is let go.
struct Gate {
  std::atomic<bool> entered{false}, open{false};
  Instance::Handler handler() {
    return [this](const Delivery&, Tx&) {
      entered = true;
      (void)eventually(60s, [this] { return open.load(); });
    };
  }
};

ConsumerOptions unmanaged(ConsumerOptions options) {
  options.manage_streams = false;
  return options;
}

/// What this process has allocated and not freed.
std::size_t live_bytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

}  // namespace

TEST_CASE("a stream that is purged under a consumer is used on, and what was in flight is finished") {
  Scene scene;
  Gate gate;
  Instance instance{scene.inbox(), scene.options(), gate.handler()};
  scene.publish_many(50, "before");
  instance.start();
  REQUIRE_WITHIN(10s, gate.entered && instance.stats().in_flight == 50);
  scene.js.purge("AUTH_EVENTS");
  scene.publish_many(20, "after");
  gate.open = true;
  REQUIRE_WITHIN(10s, instance.stats().handled == 70);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects().size() == 70);
  CHECK(unique(scene.effects()).size() == 70);
}

TEST_CASE("a group that is deleted while its messages are in flight is made again, without second effects") {
  Scene scene;
  Gate gate;
  Instance instance{scene.inbox(), scene.options(), gate.handler()};
  scene.publish_many(50, "before");
  instance.start();
  REQUIRE_WITHIN(10s, gate.entered && instance.stats().in_flight == 50);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.publish_many(20, "after");
  gate.open = true;
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  // The new group has been given all of the stream.
  CHECK(instance.stats().handled + instance.stats().duplicates >= 70);
  CHECK(scene.effects().size() == 70);
  CHECK(unique(scene.effects()).size() == 70);
}

TEST_CASE("a group that is deleted and must not be made ends the run with an error") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  Instance instance{scene.inbox(), unmanaged(scene.options())};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  REQUIRE_WITHIN(15s, instance.ended());
  CHECK_THAT(instance.error(),
             ContainsSubstring("the group mailer does not exist on the stream AUTH_EVENTS"));
  CHECK_THAT(instance.error(), ContainsSubstring("manage_streams"));
  CHECK(instance.consumer.status().reason == instance.error());
}

TEST_CASE("a push consumer that becomes a pull consumer while its instance is cut off ends the run") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  scene.js.add_consumer("AUTH_EVENTS", "mailer",
                        {{"deliver_subject", "to.mailers"}, {"deliver_group", "mailers"}});
  Instance instance{scene.inbox(), consumer_of(proxy.url())};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  proxy.refuse(true);
  proxy.cut();
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  proxy.refuse(false);
  REQUIRE_WITHIN(10s, instance.ended());
  CHECK_THAT(instance.error(), ContainsSubstring("the group mailer was changed between pull and push"));
}

TEST_CASE("a stream that is deleted under a consumer is made again when the consumer may") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(20s, scene.js.has_stream("AUTH_EVENTS") && scene.has_group());
  scene.publish("two");
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
}

TEST_CASE("dead letters of a stream and of the one that takes its place are told apart") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options(),
                    [](const Delivery&, Tx&) { throw Reject("no such address"); }};
  REQUIRE(scene.publish("first").seq == 1);
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(20s, scene.js.has_stream("AUTH_EVENTS") && scene.has_group());
  REQUIRE(scene.publish("second").seq == 1);
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 2);
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 2);
  CHECK(letters[1].header("ce-id") == "second");
}

TEST_CASE("what is in flight of a deleted stream settles nothing of the one that takes its place") {
  Scene scene;
  auto options = scene.options();
  options.max_batch = 10;
  Gate deletion, new_ones, stop;
  Instance instance{scene.inbox(), options, [&](const Delivery& delivery, Tx& tx) {
                      const auto& id = delivery.event.id;
                      if (id == "old-0") deletion.handler()(delivery, tx);
                      if (id == "old-57") new_ones.handler()(delivery, tx);
                      if (id == "new-0") stop.handler()(delivery, tx);
                    }};
  scene.publish_many(1000, "warm");  // as many are fetched as for fast handlers
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  scene.publish_many(60, "old");
  REQUIRE_WITHIN(10s, deletion.entered && instance.stats().in_flight == 60);
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(10s, !scene.js.has_stream("AUTH_EVENTS"));
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  deletion.open = true;  // soon: little is fetched behind a slow handler
  scene.publish_many(60, "new");
  REQUIRE_WITHIN(10s, new_ones.entered && scene.has_group() && scene.group().num_ack_pending == 60);
  new_ones.open = true;  // and the last of the old ones are settled
  REQUIRE_WITHIN(10s, stop.entered);
  instance.ask_to_stop();
  stop.open = true;
  instance.stop();
  Instance next{scene.inbox(), scene.options()};
  next.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(unique(scene.effects()).size() == 1120);
  CHECK(scene.effects().size() == 1120);
}

TEST_CASE("a stream that is deleted under a consumer is waited for when the consumer must not make it") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  Instance instance{scene.inbox(), unmanaged(scene.options())};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(20s, instance.consumer.status().state == ConsumerStatus::State::waiting || instance.ended());
  CHECK(instance.error().empty());
  CHECK_THAT(instance.consumer.status().reason,
             ContainsSubstring("the stream AUTH_EVENTS does not exist yet"));
  CHECK_FALSE(scene.js.has_stream("AUTH_EVENTS"));
}

TEST_CASE("a server that is restarted and killed under load costs no message and no second effect") {
  Scene scene;
  constexpr int total = 1500;
  scene.publish_many(total);
  auto options = scene.options();
  options.ack_wait = 500ms;  // a killed server has forgotten acks
  options.prefetch = options.max_batch = 100;
  const auto slow = [](const Delivery&, Tx&) { take_time(1ms); };
  Instance one{scene.inbox(), options, slow}, other{scene.inbox(), options, slow};
  one.start();
  other.start();
  const auto handled = [&] { return one.stats().handled + other.stats().handled; };
  for (const std::uint64_t mark : {200U, 500U, 800U}) {
    REQUIRE_WITHIN(30s, handled() >= mark);
    if (mark == 500)
      scene.server.kill();
    else
      scene.server.stop();
    scene.server.start();
  }
  REQUIRE_WITHIN(30s, scene.all_acked());
  one.stop();
  other.stop();
  CHECK(one.error() + other.error() == "");
  CHECK(handled() == total);
  CHECK(scene.effects().size() == total);
  CHECK(unique(scene.effects()).size() == total);
}

TEST_CASE("large messages are fetched a few at a time") {
  struct Case {
    std::size_t size;
    int max_batch;
    std::uint64_t most;
  };
  // 2 MiB are one of the larger or five of the smaller ones, each being here twice. One at a time, there is a
  // pull for each.
  const auto [size, max_batch, expected_most] =
      GENERATE(values<Case>({{900'000, 500, 5}, {900'000, 1, 5}, {200'000, 1, 12}}));
  INFO("size " << size << " max_batch " << max_batch);
  Scene scene;
  const auto large = json_of_size(size);
  for (int i = 0; i < 40; ++i) scene.publish("large-" + std::to_string(i), large);
  auto options = scene.options();
  options.prefetch_bytes = 2U << 20U;
  options.max_batch = max_batch;
  std::uint64_t most = 0;
  Instance instance{scene.inbox(), options, [&](const Delivery&, Tx&) {
                      take_time(20ms);
                      most = std::max(most, instance.stats().in_flight);
                    }};
  instance.start();
  REQUIRE_WITHIN(30s, scene.all_acked());
  instance.stop();
  CHECK(most <= expected_most);
  CHECK(scene.effects().size() == 40);
  CHECK(instance.stats().received == 40);
}

TEST_CASE("headers count among the bytes that are prefetched") {
  Scene scene;
  for (int i = 0; i < 60; ++i)
    scene.js.publish("auth.events.user.created", "{}",
                     {{"ce-id", std::to_string(i)}, {"x-large", std::string(50'000, 'x')}});
  auto options = scene.options();
  options.prefetch_bytes = 1U << 20U;  // ten of them, each being here twice
  options.max_batch = 1;
  std::uint64_t most = 0;
  Instance instance{scene.inbox(), options, [&](const Delivery&, Tx&) {
                      take_time(10ms);
                      most = std::max(most, instance.stats().in_flight);
                    }};
  instance.start();
  REQUIRE_WITHIN(30s, scene.all_acked());
  instance.stop();
  CHECK(most <= 24);
  CHECK(instance.stats().received == 60);
}

TEST_CASE("a message larger than all that may be prefetched arrives in its turn, without waiting") {
  Scene scene;
  scene.publish("before");
  for (int i = 0; i < 3; ++i) {
    scene.publish("large-" + std::to_string(i), json_of_size(900'000));
    scene.publish("between-" + std::to_string(i));
  }
  auto options = scene.options();
  options.prefetch_bytes = 65536;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 7);
  REQUIRE_WITHIN(10s, scene.all_acked());
  scene.publish("later", json_of_size(500'000));  // to a consumer that is idle
  REQUIRE_WITHIN(10s, instance.stats().handled == 8);
  CHECK(scene.effects() == std::vector<std::string>{"before", "large-0", "between-0", "large-1", "between-1",
                                                    "large-2", "between-2", "later"});
}

TEST_CASE("a durable that limits what may be asked for is asked for no more") {
  Scene scene;
  scene.js.add_consumer(
      "AUTH_EVENTS", "mailer",
      {{"max_batch", 10}, {"max_expires", second}, {"max_bytes", 100'000}, {"ack_wait", 30 * second}});
  const auto config = scene.js.consumer_config("AUTH_EVENTS", "mailer");
  REQUIRE(config.value("max_batch", 0) == 10);
  REQUIRE(config.value("max_expires", std::int64_t{0}) == second);
  REQUIRE(config.value("max_bytes", 0) == 100'000);
  scene.publish_many(300);
  scene.publish("large", json_of_size(500'000));
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 301);
  // Its pulls end each second, and new ones follow.
  const auto idle_since = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > idle_since + 2500ms);
  REQUIRE_WITHIN(10s, scene.group().num_waiting > 0);
  scene.publish("later");
  REQUIRE_WITHIN(10s, instance.stats().handled == 302);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(instance.stats().received == 302);
}

TEST_CASE("large messages among small ones leave no memory behind") {
  constexpr int messages = memory_is_measured ? 1500 : 400, one_is_large_of = 10;
  constexpr std::size_t allowed = 24U << 20U;
  Scene scene;
  const auto large = json_of_size(400'000);
  for (int i = 0; i < messages; ++i)
    scene.publish("event-" + std::to_string(i), i % one_is_large_of == 0 ? large : "{}");
  const auto before = live_bytes();
  const auto location = scene.inbox();
  std::optional<Instance> instance;
  if (GENERATE(false, true))
    instance.emplace(location, with_workers(scene.options(), 64), nothing);
  else
    instance.emplace(location, scene.options());
  instance->start();
  REQUIRE_WITHIN(60s, instance->stats().handled == messages);
  REQUIRE_WITHIN(10s, scene.all_acked());
  if (memory_is_measured)
    REQUIRE_WITHIN(10s, live_bytes() < before + allowed);  // nats.c frees on a thread of its own
}
