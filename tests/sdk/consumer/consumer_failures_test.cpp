// What a consumer tells of attempts that failed, and the retry policy of a type.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;
using std::chrono::milliseconds;

namespace {

/// What on_failure was told.
struct Told {
  std::string id, reason;
  bool dead_letter;
  int attempts;
  milliseconds delay;
};

bool within_backoff(milliseconds delay, milliseconds full) { return delay <= full && delay >= full * 3 / 4; }

}  // namespace

TEST_CASE("on_failure is told each attempt that failed, with its delay, and the dead letter") {
  Scene scene;
  std::vector<Told> told;  // on the thread of run() only
  auto options = scene.options();
  options.max_attempts = 3;
  options.backoff = {.base = 40ms, .max = 10s};
  options.on_failure = [&told](const Failure& failure) {
    CHECK(failure.delivery.stream == "AUTH_EVENTS");
    told.push_back(
        {failure.delivery.event.id, failure.reason, failure.dead_letter, failure.attempts, failure.delay});
  };
  Instance instance{scene.inbox(), options, [](const Delivery& delivery, Tx&) {
                      if (delivery.event.id == "bad") throw std::runtime_error("mail server down");
                      if (delivery.event.id == "rejected") throw Reject("no such address");
                      if (delivery.event.id == "later" && delivery.attempt == 1)
                        throw RetryAfter(123ms, "rate limit");
                    }};
  for (const char* id : {"good", "bad", "rejected", "later"}) scene.publish(id);
  scene.js.publish("auth.events.user.created", "no event",
                   {{"content-type", "application/cloudevents+json"}});
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 3);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  const auto of = [&told](const std::string& id) {
    auto found = told;
    std::erase_if(found, [&id](const Told& entry) { return entry.id != id; });
    return found;
  };
  CHECK(told.size() == 6);
  const auto bad = of("bad");
  REQUIRE(bad.size() == 3);
  for (int i = 0; i < 3; ++i) {
    const auto& entry = bad[static_cast<std::size_t>(i)];
    CHECK(entry.reason == "mail server down");
    CHECK(entry.attempts == i + 1);
    CHECK(entry.dead_letter == (i == 2));
    if (i < 2) CHECK(within_backoff(entry.delay, 40ms * (1 << i)));
  }
  CHECK(bad[2].delay == 0ms);
  REQUIRE(of("rejected").size() == 1);
  CHECK(of("rejected")[0].dead_letter);
  CHECK(of("rejected")[0].reason == "no such address");
  CHECK(of("rejected")[0].attempts == 1);
  REQUIRE(of("later").size() == 1);
  CHECK_FALSE(of("later")[0].dead_letter);
  CHECK(of("later")[0].delay == 123ms);
  REQUIRE(of("").size() == 1);
  CHECK(of("")[0].dead_letter);
  CHECK(of("")[0].attempts == 0);
}

TEST_CASE(
    "on_failure is told of an attempt that ran too long, whose message is not this instance's any more") {
  Scene scene;
  std::vector<Told> told;
  auto options = scene.options();
  options.handler_time_limit = 100ms;
  options.on_overdue = ConsumerOptions::Overdue::wait;
  options.ack_wait = 500ms;
  options.on_failure = [&told](const Failure& failure) {
    told.push_back(
        {failure.delivery.event.id, failure.reason, failure.dead_letter, failure.attempts, failure.delay});
  };
  Instance instance{scene.inbox(), options, [](const Delivery& delivery, Tx&) {
                      if (delivery.attempt == 1) take_time(200ms);
                    }};
  scene.publish("slow");
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.stats().fenced == 1);
  REQUIRE(told.size() == 1);
  CHECK(told[0].id == "slow");
  CHECK(told[0].reason == "the handler ran longer than 100 ms");
  CHECK(told[0].attempts == 1);
  CHECK_FALSE(told[0].dead_letter);
  CHECK(told[0].delay == 0ms);
}

TEST_CASE("a type's own retry policy stands in for the consumer's, for what it sets") {
  Scene scene;
  std::vector<Told> told;
  auto options = scene.options();
  options.max_attempts = 2;
  options.on_failure = [&told](const Failure& failure) {
    told.push_back(
        {failure.delivery.event.type, failure.reason, failure.dead_letter, failure.attempts, failure.delay});
  };
  const auto fail = [](const nlohmann::json&, Tx&, const Delivery&) {
    throw std::runtime_error("mail server down");
  };
  Instance instance{scene.inbox(), options};
  instance.consumer.on<nlohmann::json>("as.options", fail);
  instance.consumer.on<nlohmann::json>("own.attempts", fail, {.max_attempts = 4, .backoff = {}});
  instance.consumer.on<nlohmann::json>("own.backoff", fail,
                                       {.max_attempts = {}, .backoff = Backoff{.base = 200ms, .max = 200ms}});
  instance.consumer.on<nlohmann::json>("own.both", fail,
                                       {.max_attempts = 1, .backoff = Backoff{.base = 1h, .max = 1h}});
  for (const char* type : {"as.options", "own.attempts", "own.backoff", "own.both"})
    scene.publish(type, "{}", type);
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 4);
  instance.stop();
  const auto attempts_of = [&told](const std::string& type) {
    return std::ranges::count(told, type, &Told::id);
  };
  CHECK(attempts_of("as.options") == 2);
  CHECK(attempts_of("own.attempts") == 4);
  CHECK(attempts_of("own.backoff") == 2);
  CHECK(attempts_of("own.both") == 1);
  for (const auto& entry : told) {
    if (entry.dead_letter) continue;
    INFO(entry.id << " attempt " << entry.attempts << " delay " << entry.delay.count());
    const auto full = entry.id == "own.backoff" ? 200ms : std::min(20ms * (1 << (entry.attempts - 1)), 100ms);
    CHECK(within_backoff(entry.delay, full));
  }
}

TEST_CASE("a retry policy that cannot be used is an error with its type, its value and what it takes") {
  const TempDir folder;
  struct Case {
    std::string told;
    RetryPolicy policy;
  };
  const auto bad = GENERATE(values<Case>({
      {"max_attempts=0", {.max_attempts = 0, .backoff = {}}},
      {"max_attempts=-1", {.max_attempts = -1, .backoff = {}}},
      {"backoff=0…10", {.max_attempts = {}, .backoff = Backoff{.base = 0ms, .max = 10ms}}},
      {"backoff=5…4", {.max_attempts = {}, .backoff = Backoff{.base = 5ms, .max = 4ms}}},
  }));
  const InboxPlace place{folder};
  TestInbox inbox{place.location("inbox")};
  Consumer consumer{inbox, consumer_of("nats://127.0.0.1:4222")};
  const auto nothing = [](const nlohmann::json&, Tx&, const Delivery&) {};
  const auto told =
      error_of<SettingError>([&] { consumer.on<nlohmann::json>("user.created", nothing, bad.policy); });
  CHECK_THAT(told, ContainsSubstring("user.created") && ContainsSubstring(bad.told) &&
                       ContainsSubstring(": takes "));
  consumer.on<nlohmann::json>("user.created", nothing);  // the type is still free
}

TEST_CASE("an event whose second copy succeeds before its retry keeps no count of the failure") {
  const int workers = GENERATE(0, 4);
  CAPTURE(workers);
  Scene scene;
  const auto fail = [](const Delivery& delivery) {
    if (header(delivery.headers, "Nats-Msg-Id") == "first") throw RetryAfter{300ms};
  };
  auto options = with_workers(scene.options(), workers);
  Instance instance = workers == 0
                          ? Instance{scene.inbox(), options, [&](const Delivery& d, Tx&) { fail(d); }}
                          : Instance{scene.inbox(), options, Instance::WorkersHandler{fail}};
  instance.start();
  const auto publish_as = [&scene](const std::string& message_id) {
    scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", message_id}, {"ce-id", "one"}});
  };
  publish_as("first");
  REQUIRE_WITHIN(10s, instance.stats().retried == 1);
  CHECK(scene.place.count("inbox_attempt") == 1);
  publish_as("second");
  REQUIRE_WITHIN(10s, instance.stats().duplicates == 1);
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(instance.stats().handled == 1);
  CHECK(scene.place.count("inbox_attempt") == 0);
}
