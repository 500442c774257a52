// The order of an aggregate's events, where messages that come again meet new ones, on a real server.

#include "nats/handle.hpp"
#include "support/consuming.hpp"
#include "support/gate.hpp"

#include <tidings/connection.hpp>

#include <nats/nats.h>

#include <map>
#include <memory>

using namespace tidings;
using namespace tidings::test;

namespace {

/// Both modes, with one handler at a time: what is done with an event, and the order of that.
struct Mode {
  const char* name;
  int workers;

  [[nodiscard]] ConsumerOptions options(const Scene& scene) const {
    return with_workers(scene.options(), workers);
  }
  [[nodiscard]] std::unique_ptr<Instance> instance(const Scene& scene, const ConsumerOptions& options,
                                                   const Instance::WorkersHandler& handler) const {
    if (workers > 0) return std::make_unique<Instance>(scene.inbox(), options, handler);
    return std::make_unique<Instance>(scene.inbox(), options,
                                      [handler](const Delivery& delivery, Tx&) { handler(delivery); });
  }
};

constexpr Mode transactional{"transactional", 0}, one_worker{"one worker", 1}, two_workers{"two workers", 2};

}  // namespace

TEST_CASE("events that a stop has nacked come before later ones of their aggregates") {
  const auto mode = GENERATE(transactional, one_worker);
  INFO(mode.name);
  Scene scene;
  constexpr int events = 300;
  for (int i = 0; i < events; ++i)
    scene.publish_for("user-" + std::to_string(i % 10), std::to_string(1000 + i));
  std::mutex mutex;
  std::map<std::string, std::vector<std::string>> handled;
  const auto handle = [&](const Delivery& delivery) {
    const std::lock_guard lock{mutex};
    handled[delivery.event.partition_key].push_back(delivery.event.id);
  };

  // One is handled, and what is at hand behind it goes back.
  auto options = mode.options(scene);
  options.max_batch = 1;
  options.prefetch = 50;
  const std::uint64_t pulled = mode.workers > 0 ? 8 : 50;
  Gate first;
  const auto leaving = mode.instance(scene, options, [&](const Delivery& delivery) {
    first.pass();
    handle(delivery);
  });
  leaving->start();
  REQUIRE_WITHIN(20s, first.entered() == 1 && leaving->stats().in_flight >= pulled);
  leaving->ask_to_stop();
  first.open();
  REQUIRE_WITHIN(20s, leaving->ended());
  REQUIRE(leaving->stats().handled < 100);

  // It comes again, and new ones with it: one batch takes both.
  Gate all;
  const auto staying = mode.instance(scene, mode.options(scene), [&](const Delivery& delivery) {
    all.pass();
    handle(delivery);
  });
  staying->start();
  REQUIRE_WITHIN(20s, all.entered() == 1 && staying->stats().in_flight >= (mode.workers > 0 ? pulled : 64));
  all.open();
  REQUIRE_WITHIN(20s, scene.all_acked());
  staying->stop();
  CHECK(handled.size() == 10);
  for (const auto& [key, ids] : handled) {
    CHECK(ids.size() == events / 10);
    CHECK(std::ranges::is_sorted(ids));
  }
}

namespace {

/// What one instance does with events of the aggregate `hot`, of which hot-1 fails at first, and of others.
struct Hot {
  explicit Hot(Mode its_mode, std::chrono::milliseconds backoff)
      : mode(its_mode), options(mode.options(scene)) {
    options.backoff = {.base = backoff, .max = backoff};
  }

  /// Starts the instance; no handler ends before all events are at hand.
  void run(const std::vector<std::string>& ids, Instance::WorkersHandler handler) {
    for (const auto& id : ids) publish(id);
    instance = mode.instance(scene, options, [this, handler = std::move(handler)](const Delivery& delivery) {
      all.pass();
      if (delivery.event.id == "hot-1" && delivery.attempt == 1) throw std::runtime_error("not yet");
      if (handler) handler(delivery);
      const std::lock_guard lock{mutex};
      if (delivery.event.partition_key == "hot") handled.push_back(delivery.event.id);
    });
    instance->start();
    REQUIRE_WITHIN(20s, all.entered() == 1 && instance->stats().in_flight == ids.size());
    all.open();
  }
  void publish(const std::string& id) { scene.publish_for(id.substr(0, id.find('-')), id); }

  const Mode mode;
  Scene scene;
  ConsumerOptions options;
  Gate all;
  std::mutex mutex;
  std::vector<std::string> handled;
  std::unique_ptr<Instance> instance;
};

const std::vector<std::string> in_order{"hot-1", "hot-2", "hot-3"};

}  // namespace

TEST_CASE("what was held back behind a retry comes in order, however long others took in between") {
  const auto mode = GENERATE(transactional, one_worker);
  INFO(mode.name);
  // Shorter than the retry's delay, and longer.
  const auto [backoff, slow] = GENERATE(std::pair{200ms, 100ms}, std::pair{50ms, 800ms});
  INFO(slow.count() << " ms");
  Hot hot{mode, backoff};
  hot.run({"hot-1", "hot-2", "slow-1", "hot-3"}, [slow = slow](const Delivery& delivery) {
    if (delivery.event.id == "slow-1") take_time(slow);
  });
  REQUIRE_WITHIN(20s, hot.scene.all_acked());
  hot.instance->stop();
  CHECK(hot.handled == in_order);
  CHECK(hot.instance->stats().held_back <= 20);
}

TEST_CASE("an event that comes right behind a retry waits for those that were held back behind it") {
  const auto mode = GENERATE(transactional, one_worker);
  INFO(mode.name);
  Hot hot{mode, 100ms};
  hot.run({"hot-1", "hot-2"}, [&hot](const Delivery& delivery) {
    if (delivery.event.id == "hot-1") hot.publish("hot-3");
  });
  REQUIRE_WITHIN(20s, hot.scene.all_acked() && hot.instance->stats().handled == 3);
  hot.instance->stop();
  CHECK(hot.handled == in_order);
}

TEST_CASE("an event that comes again goes before later ones of its aggregate that wait already") {
  const auto mode = GENERATE(transactional, one_worker);
  INFO(mode.name);
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 300'000'000'000}});
  scene.publish_for("hot", "hot-1");
  Connection other{scene.options().connection};
  natsMsg* first = nullptr;
  REQUIRE(natsConnection_RequestString(&first, native(other), "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.mailer",
                                       "", 20000) == NATS_OK);
  const MessagePtr with_other{first};

  Gate gate;
  std::mutex mutex;
  std::vector<std::string> handled;
  const auto staying = mode.instance(scene, mode.options(scene), [&](const Delivery& delivery) {
    if (delivery.event.partition_key != "hot") return gate.pass();
    const std::lock_guard lock{mutex};
    handled.push_back(delivery.event.id);
  });
  for (const auto* key : {"one", "other", "third"}) scene.publish_for(key, key);  // as many as a worker has
  staying->start();
  REQUIRE_WITHIN(20s, gate.entered() == 1 && staying->stats().in_flight == 3);
  for (const auto* id : {"hot-2", "hot-3"}) scene.publish_for("hot", id);
  REQUIRE_WITHIN(20s, staying->stats().in_flight == 5);
  REQUIRE(natsConnection_PublishString(native(other), natsMsg_GetReply(first), "-NAK") == NATS_OK);
  REQUIRE_WITHIN(20s, staying->stats().in_flight == 6);
  gate.open();
  REQUIRE_WITHIN(20s, scene.all_acked());
  staying->stop();
  CHECK(handled == in_order);
}

TEST_CASE("an instance that is alone keeps each aggregate's order while many of its events fail") {
  const auto mode = GENERATE(transactional, Mode{"four workers", 4});
  INFO(mode.name);
  Scene scene;
  constexpr int events = 300, keys = 5, one_fails_of = 7;
  std::mutex mutex;
  std::map<std::string, std::vector<int>> handled;
  auto options = mode.options(scene);
  options.backoff = {.base = 1ms, .max = 100ms};
  options.max_attempts = 10;
  const auto instance = mode.instance(scene, options, [&](const Delivery& delivery) {
    const int number = std::stoi(delivery.event.id);
    if (number % one_fails_of == 0 && delivery.attempt <= 1 + number % 5) throw std::runtime_error("not yet");
    const std::lock_guard lock{mutex};
    handled[delivery.event.partition_key].push_back(number);
  });
  instance->start();
  for (int i = 0; i < events; ++i) scene.publish_for("user-" + std::to_string(i % keys), std::to_string(i));
  REQUIRE_WITHIN(60s, scene.all_acked());
  instance->stop();
  CHECK(handled.size() == keys);
  for (const auto& [key, numbers] : handled) {
    CHECK(numbers.size() == events / keys);
    CHECK(std::ranges::is_sorted(numbers));
  }
}

TEST_CASE("two instances come to the end of a hot aggregate, some of whose events fail") {
  const auto mode = GENERATE(transactional, one_worker);
  INFO(mode.name);
  Scene scene;
  constexpr int events = 1500, one_fails_of = 100;
  for (int i = 0; i < events; ++i) scene.publish_for("hot", std::to_string(i));
  const auto handle = [](const Delivery& delivery) {
    const bool fails = std::stoi(delivery.event.id) % one_fails_of == 0;
    if (fails && delivery.attempt == 1) throw std::runtime_error("not yet");
  };
  const auto one = mode.instance(scene, mode.options(scene), handle);
  const auto other = mode.instance(scene, mode.options(scene), handle);
  one->start();
  other->start();
  REQUIRE_WITHIN(60s, scene.all_acked());
  const auto of_both = [&](auto count) { return one->stats().*count + other->stats().*count; };
  CHECK(of_both(&ConsumerStats::handled) == events);
  const auto retried = of_both(&ConsumerStats::retried);
  CHECK(retried == events / one_fails_of);
  CHECK(of_both(&ConsumerStats::held_back) <= retried * events);
}

TEST_CASE("later events wait for one whose retry is lost as long as the durable's AckWait says") {
  // What this user sends to the group gets lost.
  Scene scene{R"(authorization { users: [ { user: test, password: test }, {
    user: mute, password: mute, permissions: { publish: { deny: ["$JS.ACK.>"] } } } ] })",
              "test:test@"};
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 2'000'000'000}});
  auto options = scene.options();
  options.connection.user = options.connection.password = "mute";
  options.ack_wait = 100ms;
  Instance instance{scene.inbox(), options, [](const Delivery& delivery, Tx&) {
                      if (delivery.event.id == "first" && delivery.delivered == 1)
                        throw std::runtime_error("mail server down");
                    }};
  instance.start();
  scene.publish_for("user-1", "first");
  REQUIRE_WITHIN(10s, instance.stats().retried == 1);
  take_time(500ms);  // more than two AckWaits of the options
  scene.publish_for("user-1", "second");
  REQUIRE_WITHIN(20s, instance.stats().handled == 2);
  CHECK(ids_of(instance.calls()) == std::vector<std::string>{"first", "first", "second"});
}

TEST_CASE("events of another type of aggregate do not wait for one with the same id") {
  const auto mode = GENERATE(transactional, two_workers);
  INFO(mode.name);
  Scene scene;
  const auto publish = [&scene](const std::string& type, const std::string& id) {
    scene.js.publish("auth.events.user.created", "{}",
                     {{"Nats-Msg-Id", id},
                      {"ce-specversion", "1.0"},
                      {"ce-id", id},
                      {"ce-type", "user.created"},
                      {"ce-aggregatetype", type},
                      {"ce-partitionkey", "42"}});
  };
  publish("User", "fails");
  publish("Order", "order");
  publish("User", "user");
  std::atomic<bool> mended{false};
  auto options = mode.options(scene);
  options.max_attempts = 1000;
  const auto instance = mode.instance(scene, options, [&](const Delivery& delivery) {
    if (delivery.event.id == "fails" && !mended) throw std::runtime_error("not yet");
  });
  instance->start();
  REQUIRE_WITHIN(10s, instance->stats().retried > 1 && instance->stats().handled == 1);
  CHECK(instance->calls_for("order").size() == 1);
  CHECK(instance->calls_for("user").empty());
  mended = true;
  REQUIRE_WITHIN(20s, scene.all_acked());
}

TEST_CASE("workers handle aggregates of two types with the same id side by side") {
  Scene scene;
  for (const auto* type : {"User", "Order"})
    scene.js.publish("auth.events.user.created", "{}",
                     {{"Nats-Msg-Id", type},
                      {"ce-specversion", "1.0"},
                      {"ce-id", type},
                      {"ce-type", "user.created"},
                      {"ce-aggregatetype", type},
                      {"ce-partitionkey", "42"}});
  Meeting meeting{2};
  Instance instance{scene.inbox(), with_workers(scene.options(), 2),
                    [&](const Delivery&) { meeting.join(); }};
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(instance.stats().retried == 0);
}
