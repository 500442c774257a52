// A consumer with workers on a real server. What its handlers do beside each other is in
// concurrent_executor_test.cpp, without a server; stops and kills are in concurrent_stop_test.cpp.

#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/tcp_proxy.hpp"

#include <map>

using namespace tidings;
using namespace tidings::test;
namespace {

/// On a busy machine it may have waited for NATS before.
bool waits_for_workers(const Instance& instance) {
  const auto status = instance.consumer.status();
  return status.state == ConsumerStatus::State::waiting && status.reason.starts_with("workers");
}

}  // namespace

TEST_CASE("with workers, each event is handled once, in the order of its aggregate") {
  Scene scene;
  for (int i = 0; i < 200; ++i) scene.publish_for("user-" + std::to_string(i % 10), std::to_string(1000 + i));
  std::mutex mutex;
  std::map<std::string, std::vector<std::string>> handled;
  Instance instance{scene.inbox(), with_workers(scene.options(), 8), [&](const Delivery& delivery) {
                      const std::lock_guard lock{mutex};
                      handled[delivery.event.partition_key].push_back(delivery.event.id);
                    }};
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(handled.size() == 10);
  for (const auto& [key, ids] : handled) {
    CHECK(ids.size() == 20);
    CHECK(std::ranges::is_sorted(ids));
  }
  CHECK(instance.calls().size() == 200);
  CHECK(scene.place.rows().size() == 200);
  CHECK(instance.stats().received == 200);
  CHECK(instance.stats().handled == 200);
  CHECK(instance.stats().in_flight == 0);
}

TEST_CASE("as many handlers run at once as there are workers") {
  Scene scene;
  Gate gate;
  Instance instance{scene.inbox(), with_workers(scene.options(), 8), [&](const Delivery&) { gate.pass(); }};
  instance.start();
  for (int i = 0; i < 12; ++i) scene.publish_for("user-" + std::to_string(i), std::to_string(i));
  REQUIRE_WITHIN(10s, gate.entered() == 8 && instance.stats().in_flight == 12);
  CHECK(scene.group().acked_to == 0);
  CHECK(instance.consumer.status().state == ConsumerStatus::State::running);
  gate.open();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(instance.calls().size() == 12);
}

TEST_CASE("messages that run or wait for a worker longer than the ack wait are kept") {
  Scene scene;
  auto options = with_workers(scene.options(), 2);
  options.ack_wait = 400ms;
  for (int i = 0; i < 20; ++i) scene.publish(std::to_string(i));
  Instance slow{scene.inbox(), options,
                [](const Delivery& delivery) { take_time(delivery.event.id == "0" ? 1000ms : 60ms); }};
  slow.start();
  REQUIRE_WITHIN(10s, slow.stats().received >= 16);
  Instance eager{scene.inbox("other"), options, nothing};
  eager.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(slow.stats().handled == 20);
  CHECK(slow.stats().received == 20);
  CHECK(eager.stats().received == 0);
  CHECK(scene.group().delivered == 20);
}

TEST_CASE("while a handler runs too long, its event is handled elsewhere, and it is of no effect itself") {
  Scene scene;
  const bool same_inbox = GENERATE(true, false);
  INFO("same inbox " << same_inbox);
  auto options = with_workers(scene.options(), 1);
  options.handler_time_limit = 200ms;
  Gate gate;
  Instance late{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  scene.publish("one");
  late.start();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  Instance other{scene.inbox(same_inbox ? "inbox" : "other"), options, nothing};
  other.start();
  REQUIRE_WITHIN(10s, other.stats().handled == 1);
  CHECK(other.calls().front().attempt == (same_inbox ? 2 : 1));
  REQUIRE_WITHIN(10s, scene.all_acked());
  REQUIRE_WITHIN(10s, waits_for_workers(late));
  CHECK_FALSE(late.consumer.status().ready());

  gate.open();
  REQUIRE_WITHIN(10s, late.consumer.status().ready());
  CHECK(late.stats().handled == 0);
  CHECK(late.stats().retried == 1);
  CHECK(scene.place.rows().size() == (same_inbox ? 1 : 0));
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("an instance whose workers are all held keeps no messages from the others") {
  Scene scene;
  auto options = with_workers(scene.options(), 2);
  options.handler_time_limit = 200ms;
  Gate gate;
  Instance held{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  scene.publish_many(10);
  held.start();
  REQUIRE_WITHIN(10s, waits_for_workers(held));
  Instance other{scene.inbox(), options, nothing};
  other.start();
  scene.publish_many(10, "later");
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(other.stats().handled == 20);
  gate.open();
}

TEST_CASE("a result that comes after its message went to another instance is of no effect") {
  Scene scene;
  TcpProxy proxy{scene.server.port()};
  auto options = with_workers(consumer_of(proxy.url()), 2);
  options.ack_wait = 300ms;
  Gate cut_off_ends, other_ends;
  std::vector<std::string> told;  // on the thread of run() only
  options.on_failure = [&told](const Failure& failure) { told.push_back(failure.reason); };
  Instance cut_off{scene.inbox(), options, [&](const Delivery&) { cut_off_ends.pass(); }};
  scene.publish("one");
  cut_off.start();
  REQUIRE_WITHIN(10s, cut_off_ends.entered() == 1);
  proxy.refuse(true);
  proxy.cut();
  options.connection.urls = {scene.server.url()};
  options.on_failure = {};
  Instance other{scene.inbox(), options, [&](const Delivery&) { other_ends.pass(); }};
  other.start();
  REQUIRE_WITHIN(10s, other_ends.entered() == 1);
  REQUIRE_WITHIN(10s, !cut_off.consumer.status().ready());
  proxy.refuse(false);
  REQUIRE_WITHIN(10s, cut_off.consumer.status().ready());
  cut_off_ends.open();
  REQUIRE_WITHIN(10s, cut_off.stats().fenced == 1);
  cut_off.stop();
  CHECK(told == std::vector<std::string>{"the handler ended too late"});
  CHECK(scene.group().num_ack_pending == 1);  // the other one's to settle
  CHECK(scene.place.rows().empty());
  other_ends.open();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(cut_off.stats().handled == 0);
  CHECK(other.stats().handled == 1);
  CHECK(scene.place.rows() == std::vector<std::string>{"one"});
}

TEST_CASE("with workers, later events of an aggregate wait behind a retry") {
  Scene scene;
  auto options = with_workers(scene.options(), 4);
  options.backoff = {.base = 200ms, .max = 200ms};
  for (const auto* id : {"hot-1", "hot-2", "hot-3"}) scene.publish_for("hot", id);
  scene.publish_for("other", "other");
  std::atomic<int> failures{0};
  Instance instance{scene.inbox(), options, [&](const Delivery& delivery) {
                      if (delivery.event.id == "hot-1" && ++failures <= 2)
                        throw std::runtime_error("not yet");
                    }};
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled == 4 && scene.all_acked());
  auto called = ids_of(instance.calls());
  std::erase(called, "other");
  CHECK(called == std::vector<std::string>{"hot-1", "hot-1", "hot-1", "hot-2", "hot-3"});
  CHECK(instance.stats().retried == 2);
  CHECK(instance.stats().held_back >= 2);
}

TEST_CASE("time on a worker is not idle time") {
  Scene scene;
  scene.publish_many(2);
  auto options = with_workers(scene.options(), 2);
  options.exit_when_idle = 50ms;
  Instance instance{scene.inbox(), options, [](const Delivery&) { take_time(300ms); }};
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 2);
}

TEST_CASE("a consumer whose workers are all held is not idle") {
  Scene scene;
  scene.publish_many(3);
  auto options = with_workers(scene.options(), 1);
  options.handler_time_limit = 100ms;
  options.exit_when_idle = 200ms;
  Gate gate;
  Instance instance{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  instance.start();
  REQUIRE_WITHIN(10s, waits_for_workers(instance));
  take_time(1000ms);  // by then nothing comes in any more
  CHECK(waits_for_workers(instance));
  gate.open();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 3);
}

TEST_CASE("a handler that takes a transaction is refused where there are workers") {
  const TempDir folder;
  const InboxPlace place{folder};
  TestInbox inbox{place.location("inbox")};
  Consumer consumer{inbox, with_workers(consumer_of("nats://127.0.0.1:4222"), 1)};
  const auto told = error_of<Error>([&] {
    consumer.on<nlohmann::json>("user.created", [](const nlohmann::json&, Tx&, const Delivery&) {});
  });
  CHECK_THAT(told, ContainsSubstring("user.created takes a transaction"));
  CHECK_THAT(told, ContainsSubstring("take (event, delivery), without a transaction"));
  consumer.on<nlohmann::json>("user.created", [](const nlohmann::json&, const Delivery&) {});
}

TEST_CASE("workers and their time limit are options with limits") {
  const TempDir folder;
  const InboxPlace place{folder};
  TestInbox inbox{place.location("inbox")};
  for (const int workers : {-1, 1025})
    CHECK_THAT(error_of<SettingError>([&] {
                 Consumer{inbox, with_workers(consumer_of("nats://a"), workers)};
               }),
               ContainsSubstring("workers=" + std::to_string(workers) + ": takes 0 to 1024"));
  auto options = consumer_of("nats://a");
  options.handler_time_limit = 99ms;
  CHECK_THAT(error_of<SettingError>([&] {
               Consumer{inbox, options};
             }),
             ContainsSubstring("handler_time_limit=99: takes at least 100 ms"));
}
