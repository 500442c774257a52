// What a consumer does with messages, on a real server. What it does when a message fails is in
// dead_letter_test.cpp, and when a server or a network fails in consumer_outage_test.cpp.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

struct Numbered {
  int n = 0;
};
void from_json(const nlohmann::json& json, Numbered& numbered) { json.at("n").get_to(numbered.n); }

}  // namespace

TEST_CASE("a consumer makes its group, handles what the stream holds and what comes, in order") {
  Scene scene;
  scene.publish("one");
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  scene.publish("two");
  scene.publish("three");
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "two", "three"});
  CHECK(instance.stats().received == 3);
  CHECK(instance.stats().handled == 3);
  CHECK(instance.stats().duplicates == 0);
  CHECK(scene.group().acked_to == 3);
}

TEST_CASE("a handler is told the event and its delivery") {
  Scene scene;
  scene.js.publish("auth.events.user.created", R"({"n": 7})",
                   {{"ce-id", "e1"},
                    {"ce-specversion", "1.0"},
                    {"ce-type", "user.created"},
                    {"CE-Subject", "user-1"},
                    {"x-extra", "kept"}});
  const auto before = now();
  TestInbox inbox{scene.inbox()};
  auto options = scene.options();
  options.exit_when_idle = 50ms;
  Consumer consumer{inbox, options};
  Delivery seen;
  int n = 0;
  consumer.on<Numbered>("user.created", [&](const Numbered& data, Tx&, const Delivery& delivery) {
    seen = delivery;
    n = data.n;
  });
  consumer.run(std::stop_token{});
  CHECK(n == 7);
  CHECK(seen.event.id == "e1");
  CHECK(seen.event.type == "user.created");
  CHECK(seen.event.aggregate_id == "user-1");
  CHECK(seen.event.data == R"({"n": 7})");
  CHECK(header(seen.headers, "x-extra") == "kept");
  CHECK(seen.subject == "auth.events.user.created");
  CHECK(seen.stream == "AUTH_EVENTS");
  CHECK(seen.stream_sequence == 1);
  CHECK(seen.delivered == 1);
  CHECK(seen.attempt == 1);
  CHECK(seen.stored_at > before - 10s);
  CHECK(seen.stored_at < now() + 10s);
}

TEST_CASE("messages in flight share a commit") {
  Scene scene;
  scene.publish_many(200);
  auto options = scene.options();
  options.max_batch_time = 10s;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled == 200);
  CHECK(instance.stats().commits < 100);
}

TEST_CASE("an event that was published twice under different message ids has one effect") {
  Scene scene;
  scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", "m1"}, {"ce-id", "same"}});
  scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", "m2"}, {"ce-id", "same"}});
  REQUIRE(scene.js.message_count("AUTH_EVENTS") == 2);
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().duplicates == 1);
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(scene.effects() == std::vector<std::string>{"same"});
}

TEST_CASE("the same id from two sources is two events, which fail and take effect each for itself") {
  Scene scene;
  const auto publish = [&scene](const std::string& source) {
    scene.js.publish("auth.events.user.created", "{}", {{"ce-id", "7"}, {"ce-source", source}});
  };
  const auto fail_at_first = [](const Delivery& delivery) {
    if (delivery.attempt < 3 && delivery.event.source == "/billing") throw std::runtime_error("not yet");
    if (delivery.event.source == "/void") throw Reject("no");
  };
  std::optional<Instance> instance;
  if (GENERATE(false, true))
    instance.emplace(scene.inbox(), with_workers(scene.options(), 4), fail_at_first);
  else
    instance.emplace(scene.inbox(), scene.options(),
                     [&](const Delivery& delivery, Tx&) { fail_at_first(delivery); });
  instance->start();
  for (const char* source : {"/shop", "/void", "/billing", "/shop", "/stock"}) publish(source);
  REQUIRE_WITHIN(20s, scene.all_acked());
  publish("/billing");
  REQUIRE_WITHIN(20s, scene.all_acked() && instance->stats().duplicates == 2);
  instance->stop();
  CHECK(instance->stats().handled == 3);
  CHECK(instance->stats().retried == 2);
  CHECK(instance->stats().dead_lettered == 1);
  CHECK(scene.place.count("inbox") == 3);
  CHECK(scene.place.count("inbox_attempt") == 1);  // the dead letter's
}

TEST_CASE("while a handler runs, its message is not acked") {
  Scene scene;
  ConsumerState inside;
  Instance instance{scene.inbox(), scene.options(), [&](const Delivery&, Tx&) {
                      inside = JetStream{scene.server.url()}.consumer("AUTH_EVENTS", "mailer");
                    }};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(inside.acked_to == 0);
  CHECK(inside.num_ack_pending == 1);
}

TEST_CASE("more messages than the prefetch flow through") {
  Scene scene;
  scene.publish_many(300);
  auto options = scene.options();
  options.max_batch = 7;
  options.prefetch = 13;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  CHECK(scene.effects().size() == 300);
  CHECK(instance.stats().received == 300);
}

TEST_CASE("a handler that is slower than the ack wait keeps its message and those behind it") {
  Scene scene;
  auto options = scene.options();
  options.ack_wait = 900ms;
  options.exit_when_idle = 300ms;
  Instance slow{scene.inbox(), options, [](const Delivery&, Tx&) { take_time(700ms); }};
  scene.publish_many(2);
  slow.start();
  REQUIRE_WITHIN(10s, slow.stats().received == 2);
  options.exit_when_idle = {};
  Instance eager{scene.inbox("other"), options};
  eager.start();
  REQUIRE_WITHIN(20s, slow.ended());
  CHECK(slow.stats().handled == 2);
  CHECK(slow.stats().received == 2);
  CHECK(eager.stats().received == 0);
  for (const auto& call : slow.calls()) CHECK(call.delivered == 1);
}

TEST_CASE("a single handler that is slower than the ack wait keeps its message") {
  Scene scene;
  auto options = scene.options();
  options.ack_wait = 600ms;
  Instance slow{scene.inbox(), options, [](const Delivery&, Tx&) { take_time(1300ms); }};
  Instance eager{scene.inbox("other"), options};
  scene.publish("one");
  slow.start();
  REQUIRE_WITHIN(10s, slow.stats().received == 1);
  eager.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  slow.stop();
  CHECK(slow.stats().handled == 1);
  CHECK(slow.stats().received == 1);
  CHECK(eager.stats().received == 0);
}

TEST_CASE("old ids are forgotten while the consumer runs") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  scene.publish("old");
  instance.start();
  REQUIRE_WITHIN(10s, scene.effects().size() == 1);
  instance.stop();
  scene.place.let_all_be_handled_long_ago();
  instance.start();
  REQUIRE_WITHIN(10s, scene.place.count("inbox") == 0);
}

TEST_CASE("an option that cannot be used is an error with its name, its value and what it takes") {
  struct Case {
    std::string name, value;
    std::function<void(ConsumerOptions&)> spoil;
  };
  const std::vector<Case> all_bad{
      {"group", "", [](ConsumerOptions& o) { o.group = ""; }},
      {"group", "a.b", [](ConsumerOptions& o) { o.group = "a.b"; }},
      {"group", std::string(32, 'x'), [](ConsumerOptions& o) { o.group = std::string(32, 'x'); }},
      {"stream", "AUTH EVENTS", [](ConsumerOptions& o) { o.stream = "AUTH EVENTS"; }},
      {"dead_letter_stream", "*", [](ConsumerOptions& o) { o.dead_letter_stream = "*"; }},
      {"subject_prefix", "auth.>", [](ConsumerOptions& o) { o.subject_prefix = "auth.>"; }},
      {"subject_prefix", "", [](ConsumerOptions& o) { o.subject_prefix = ""; }},
      {"dead_letter_prefix", "auth..dlq", [](ConsumerOptions& o) { o.dead_letter_prefix = "auth..dlq"; }},
      {"max_attempts", "0", [](ConsumerOptions& o) { o.max_attempts = 0; }},
      {"backoff", "0", [](ConsumerOptions& o) { o.backoff.base = 0ms; }},
      {"backoff", "5", [](ConsumerOptions& o) { o.backoff = {.base = 5ms, .max = 4ms}; }},
      {"max_attempts", "1001", [](ConsumerOptions& o) { o.max_attempts = 1001; }},
      {"ack_wait", "99", [](ConsumerOptions& o) { o.ack_wait = 99ms; }},
      {"ack_wait", "3600001", [](ConsumerOptions& o) { o.ack_wait = 3'600'001ms; }},
      {"max_ack_pending", "0", [](ConsumerOptions& o) { o.max_ack_pending = 0; }},
      {"max_ack_pending", "1000001", [](ConsumerOptions& o) { o.max_ack_pending = 1'000'001; }},
      {"max_batch", "0", [](ConsumerOptions& o) { o.max_batch = 0; }},
      {"max_batch", "10001",
       [](ConsumerOptions& o) {
         o.max_batch = 10001;
         o.prefetch = 20000;
       }},
      {"prefetch", "499", [](ConsumerOptions& o) { o.prefetch = 499; }},
      {"prefetch", "100001", [](ConsumerOptions& o) { o.prefetch = 100001; }},
      {"prefetch_bytes", "65535", [](ConsumerOptions& o) { o.prefetch_bytes = 65535; }},
      {"max_batch_time", "-1", [](ConsumerOptions& o) { o.max_batch_time = -1ms; }},
      {"inbox_retention", "0", [](ConsumerOptions& o) { o.inbox_retention = std::chrono::hours{0}; }},
      {"replicas", "0", [](ConsumerOptions& o) { o.replicas = 0; }},
      {"replicas", "6", [](ConsumerOptions& o) { o.replicas = 6; }},
      {"exit_when_idle", "0", [](ConsumerOptions& o) { o.exit_when_idle = 0ms; }},
      {"drain_timeout", "0", [](ConsumerOptions& o) { o.drain_timeout = 0ms; }},
  };
  const TempDir folder;
  const InboxPlace place{folder};
  for (const auto& bad : all_bad) {
    INFO(bad.name << "=" << bad.value);
    auto options = consumer_of("nats://127.0.0.1:4222");
    bad.spoil(options);
    TestInbox inbox{place.location("inbox")};
    const auto told = error_of<SettingError>([&] { Consumer consumer{inbox, options}; });
    CHECK_THAT(told, ContainsSubstring(bad.name + "=" + bad.value));
    CHECK_THAT(told, ContainsSubstring(": takes "));
    const Consumer good{inbox, consumer_of("nats://127.0.0.1:4222")};  // the inbox is still free for it
  }
}

TEST_CASE("while an event waits for its retry, later ones of its aggregate wait with it, and others do not") {
  Scene scene;
  const bool hold_back = GENERATE(true, false);
  INFO("hold_back " << hold_back);
  for (const auto& [id, aggregate] : std::initializer_list<std::pair<std::string, std::string>>{
           {"hot-1", "hot"}, {"hot-2", "hot"}, {"other-1", "other"}, {"hot-3", "hot"}, {"other-2", "other"}})
    scene.js.publish("auth.events.user.created", "{}",
                     {{"Nats-Msg-Id", id},
                      {"ce-specversion", "1.0"},
                      {"ce-id", id},
                      {"ce-type", "user.created"},
                      {"ce-subject", aggregate}});
  auto options = scene.options();
  options.hold_back = hold_back;
  options.backoff = {.base = 200ms, .max = 200ms};
  int failures = 0;
  Instance instance{scene.inbox(), options, on_event("hot-1", [&failures] {
                      if (++failures <= 2) throw std::runtime_error("not yet");
                    })};
  instance.start();
  REQUIRE_WITHIN(20s, scene.effects().size() == 5 && scene.all_acked());
  const auto held_back = instance.stats().held_back;
  if (hold_back) {
    CHECK(scene.effects() == std::vector<std::string>{"other-1", "other-2", "hot-1", "hot-2", "hot-3"});
    CHECK(held_back >= 2);
  } else {
    // Slow commits mix its retries with the rest. What is sure is that nothing waited for it.
    CHECK(scene.effects().back() == "hot-1");
    CHECK(held_back == 0);
  }
}

TEST_CASE("a connection is shown under the name that it is given, and else under its group") {
  Scene scene{"trace: true"};
  auto options = scene.options();
  options.connection.name = GENERATE("", "mailer on host 7");
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().ready());
  const auto shown = options.connection.name.empty() ? "mailer" : options.connection.name;
  CHECK_THAT(scene.server.log(), ContainsSubstring("\"name\":\"" + shown + "\""));
}
