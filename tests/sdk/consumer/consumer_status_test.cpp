// What a consumer tells of itself: status and stats, and a warning at its start.

#include "support/consuming.hpp"
#include "support/inbox_faults.hpp"
#include "support/log.hpp"

using namespace tidings;
using namespace tidings::test;
using State = ConsumerStatus::State;

namespace {

constexpr std::int64_t hour = 3'600'000'000'000;

/// What on_status was told, as texts: "running", "waiting: inbox: …".
class StatusLog {
 public:
  void add(const ConsumerStatus& status) {
    static const std::vector<std::string> names{"stopped", "joining",  "running",
                                                "waiting", "draining", "paused"};
    const std::lock_guard lock{mutex_};
    entries_.push_back(names.at(static_cast<std::size_t>(status.state)) +
                       (status.reason.empty() ? "" : ": " + status.reason));
  }
  [[nodiscard]] std::vector<std::string> entries() const {
    const std::lock_guard lock{mutex_};
    return entries_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> entries_;
};

/// A handler that stays until it is let go.
struct Gate {
  std::atomic<bool> entered{false}, open{false};
  void pass() {
    entered = true;
    (void)eventually(60s, [this] { return open.load(); });
  }
};

}  // namespace

TEST_CASE("a run goes from waiting for NATS over joining and running to draining and stopped") {
  Scene scene;
  StatusLog log;
  auto options = scene.options();
  options.on_status = [&log](const ConsumerStatus& status) { log.add(status); };
  Instance instance{scene.inbox(), options};
  CHECK(instance.consumer.status().state == State::stopped);
  CHECK_FALSE(instance.consumer.status().ready());
  const auto before = std::chrono::system_clock::now();
  for (std::size_t round = 1; round <= 2; ++round) {
    instance.start();
    REQUIRE_WITHIN(10s, instance.consumer.status().ready());
    CHECK(instance.consumer.status().since >= before);
    instance.stop();
    CHECK(instance.consumer.status().state == State::stopped);
    CHECK(instance.consumer.status().reason.empty());
    CHECK(log.entries().size() == 5 * round);
  }
  auto entries = log.entries();
  entries.resize(5);
  CHECK(entries == std::vector<std::string>{"waiting: NATS: not connected", "joining", "running", "draining",
                                            "stopped"});
}

TEST_CASE("a consumer whose server is stopped waits for NATS, and runs again after it") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  const auto status = [&] { return instance.consumer.status(); };
  const auto waits_for_nats = [&] {
    return status().state == State::waiting && status().reason.starts_with("NATS") && !status().ready();
  };
  scene.server.stop();
  instance.start();
  REQUIRE_WITHIN(10s, waits_for_nats());  // from the start
  scene.server.start();
  REQUIRE_WITHIN(10s, status().ready());
  scene.server.stop();
  REQUIRE_WITHIN(10s, waits_for_nats());  // and in the middle of the run
  scene.server.start();
  REQUIRE_WITHIN(10s, status().ready());
  scene.publish("one");
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
}

TEST_CASE("a consumer whose inbox is locked waits for the inbox, and runs again after it") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  be_impatient(instance.inbox);
  instance.start();
  scene.publish("one");
  REQUIRE_WITHIN(10s, instance.stats().handled == 1 && instance.consumer.status().ready());
  {
    const InboxLock lock{scene.place};
    scene.publish("two");
    REQUIRE_WITHIN(10s, instance.consumer.status().state == State::waiting);
    const auto status = instance.consumer.status();
    CHECK_THAT(status.reason, ContainsSubstring("inbox") && ContainsSubstring(lock_error()));
    CHECK_FALSE(status.ready());
  }
  REQUIRE_WITHIN(10s, instance.stats().handled == 2);
  REQUIRE_WITHIN(10s, instance.consumer.status().ready());
}

TEST_CASE("a run that ends with an error is stopped with that reason") {
  Scene scene;
  auto options = scene.options();
  options.manage_streams = false;  // and there is no group
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.ended());
  CHECK(instance.consumer.status().state == State::stopped);
  CHECK(instance.consumer.status().reason == instance.error());
  CHECK_THAT(instance.error(), ContainsSubstring("the group mailer does not exist"));
}

TEST_CASE("a draining consumer says so while its last handler runs on") {
  Scene scene;
  Gate gate;
  StatusLog log;
  auto options = scene.options();
  options.on_status = [&log](const ConsumerStatus& status) { log.add(status); };
  Instance instance{scene.inbox(), options, [&](const Delivery&, Tx&) { gate.pass(); }};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, gate.entered.load());
  instance.ask_to_stop();
  CHECK(instance.consumer.status().state == State::running);  // it still does its work
  gate.open = true;
  instance.stop();
  CHECK(log.entries().back() == "stopped");
  CHECK(log.entries().at(log.entries().size() - 2) == "draining");
  CHECK(instance.stats().handled == 1);
}

TEST_CASE("messages ahead of a slow handler are in flight or lag, and none of either afterwards") {
  Scene scene;
  scene.publish_many(100);
  auto options = scene.options();
  options.prefetch = options.max_batch = 10;
  Gate gate;
  Instance instance{scene.inbox(), options, on_event("event-30", [&gate] { gate.pass(); })};
  instance.start();
  REQUIRE_WITHIN(10s, gate.entered.load());
  const auto stats = instance.stats();
  CHECK(stats.in_flight >= 1);
  CHECK(stats.in_flight <= 2 * 10);
  CHECK(stats.lag >= 100 - 31 - 2 * 10);
  // The lag is that of the last look into the mailbox, the messages in flight are those of now.
  const auto known = stats.handled + stats.in_flight + stats.lag;
  CHECK(known >= 100);
  CHECK(known <= 100 + 10);
  gate.open = true;
  REQUIRE_WITHIN(10s, instance.stats().handled == 100);
  REQUIRE_WITHIN(10s, instance.stats().in_flight == 0);
  CHECK(instance.stats().lag == 0);
}

TEST_CASE("the last commit's size is that of all messages that were in flight") {
  Scene scene;
  Gate gate;
  auto options = scene.options();
  options.max_batch_time = 30s;
  Instance instance{scene.inbox(), options, on_event("first", [&gate] { gate.pass(); })};
  scene.publish("first");
  instance.start();
  REQUIRE_WITHIN(10s, gate.entered.load());
  scene.publish_many(19);
  REQUIRE_WITHIN(10s, instance.stats().in_flight == 20);
  gate.open = true;
  REQUIRE_WITHIN(10s, instance.stats().handled == 20);
  CHECK(instance.stats().commits == 2);
  CHECK(instance.stats().last_commit_size == 19);
}

TEST_CASE("handling times and ages are told as percentiles") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options(), [](const Delivery& delivery, Tx&) {
                      take_time(delivery.event.id == "slow" ? 300ms : 30ms);
                      if (delivery.event.id == "bad") throw Reject("no such address");
                    }};
  CHECK(instance.stats().handling_p99.count() == 0);
  CHECK(instance.stats().age_p99.count() == 0);
  instance.start();
  scene.publish("bad");
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  CHECK(instance.stats().handling_p50 >= 30ms);
  CHECK(instance.stats().age_p99.count() == 0);  // it never had an effect
  const auto publish_of = [&](const std::string& id, const std::string& time) {
    scene.js.publish("auth.events.user.created", "{}", {{"ce-id", id}, {"ce-time", time}});
  };
  publish_of("slow", to_iso8601(now() - std::chrono::hours{1}));
  for (const char* id : {"1", "2", "3"}) publish_of(id, to_iso8601(now() - std::chrono::minutes{1}));
  for (const char* id : {"4", "5", "6", "7"})
    publish_of(id, "yesterday");  // then it is as old as its storing
  REQUIRE_WITHIN(10s, instance.stats().handled == 8);
  const auto stats = instance.stats();
  CHECK(stats.handling_p50 >= 30ms);
  CHECK(stats.handling_p50 < 300ms);
  CHECK(stats.handling_p99 >= 300ms);
  CHECK(stats.age_p50 < 55s);
  CHECK(stats.age_p99 >= 1h);
  CHECK(stats.age_p99 < 2h);
}

TEST_CASE("a stream that keeps events longer than the inbox remembers them is warned of at the start") {
  struct Case {
    std::int64_t max_age;  // hours; 0: for ever
    int retention;
    std::string told;  // nothing: no warning
  };
  // For ever is no trouble before the stream has an event that is older than the retention.
  const auto [max_age, retention, expected] = GENERATE(
      values<Case>({{3, 2, "inbox_retention is 2 h, and the stream AUTH_EVENTS keeps events for 3 h"},
                    {2, 2, ""},
                    {2, 3, ""},
                    {0, 1, ""}}));
  INFO("max_age " << max_age << " retention " << retention);
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_age", max_age * hour}});
  scene.publish("one");
  auto options = scene.options();
  options.inbox_retention = std::chrono::hours{retention};
  const Log log;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  instance.stop();
  if (expected.empty())
    CHECK_THAT(log.text(), !ContainsSubstring("inbox_retention"));
  else
    CHECK_THAT(log.text(), ContainsSubstring("warning") && ContainsSubstring(expected));
}

TEST_CASE("a durable whose limits are lowered under a consumer is asked for less, which waits and says why") {
  Scene scene;
  auto options = scene.options();
  options.prefetch = options.max_batch = 20;
  StatusLog statuses;
  options.on_status = [&statuses](const ConsumerStatus& status) { statuses.add(status); };
  Log log;
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, scene.has_group() && scene.group().num_waiting == 1);
  auto config = scene.js.consumer_config("AUTH_EVENTS", "mailer");
  config["max_batch"] = 5;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", config);
  scene.publish_many(100);  // a pull of 20 is there already
  REQUIRE_WITHIN(10s, instance.stats().handled == 100);
  REQUIRE_WITHIN(10s, instance.consumer.status().ready());
  instance.stop();
  CHECK(instance.error().empty());
  const std::string refusal = "Exceeded MaxRequestBatch of 5";
  CHECK(std::ranges::count(statuses.entries(), "waiting: NATS: the group refuses pulls: " + refusal) == 1);
  const auto text = log.text();
  CHECK_THAT(text, ContainsSubstring("warning") && ContainsSubstring(refusal));
  CHECK(text.find(refusal) == text.rfind(refusal));
}

TEST_CASE("a consumer that may not pull is not ready, says why, and does not log it each second") {
  Scene scene{
      "authorization { users: [ { user: admin, password: pw }, { user: mailer, password: pw, permissions: "
      "{ publish: { deny: [\"$JS.API.CONSUMER.MSG.NEXT.>\"] } } } ] }",
      "admin:pw@"};
  scene.publish("one");
  auto options = scene.options();
  options.connection.user = "mailer";
  options.connection.password = "pw";
  Log log;
  Instance instance{scene.inbox(), options};
  instance.start();
  const auto refused = [&scene] {
    const auto text = scene.server.log();
    int count = 0;
    for (auto at = text.find("Publish Violation"); at != text.npos;
         at = text.find("Publish Violation", at + 1))
      ++count;
    return count;
  };
  REQUIRE_WITHIN(20s, refused() >= 3 && instance.consumer.status().state == State::waiting);
  const auto status = instance.consumer.status();
  instance.stop();
  CHECK(status.state == State::waiting);
  CHECK_FALSE(status.ready());
  CHECK_THAT(status.reason, ContainsSubstring("\"$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.mailer\""));
  const auto text = log.text();
  CHECK_THAT(text, ContainsSubstring("nats refuses login=\"user mailer and password\""));
  CHECK(text.find("nats refuses") == text.rfind("nats refuses"));
  CHECK_THAT(text, !ContainsSubstring("pull unanswered"));
}

TEST_CASE("a consumer that may not look up the stream waits with the permission error as its reason") {
  Scene scene{
      "authorization { users: [ { user: admin, password: pw }, { user: mailer, password: pw, permissions: "
      "{ publish: { deny: [\"$JS.API.STREAM.>\"] } } } ] }",
      "admin:pw@"};
  auto options = scene.options();
  options.connection.user = "mailer";
  options.connection.password = "pw";
  Instance instance{scene.inbox(), options};
  instance.start();
  const auto reason = [&instance] { return instance.consumer.status().reason; };
  REQUIRE_WITHIN(20s, reason().find("look up the stream AUTH_EVENTS") != std::string::npos);
  CHECK_THAT(reason(), ContainsSubstring("\"$JS.API.STREAM.INFO.AUTH_EVENTS\""));
}

TEST_CASE("an instance with a slow handler has little at hand, and leaves the rest to others") {
  Scene scene;
  scene.publish_many(400);
  auto options = with_workers(scene.options(), GENERATE(0, 4));
  if (options.workers == 0) options.max_batch_time = 0ms;
  const auto slow = [](const Delivery&) { take_time(50ms); };
  Instance instance = options.workers > 0
                          ? Instance{scene.inbox(), options, Instance::WorkersHandler{slow}}
                          : Instance{scene.inbox(), options, [&](const Delivery& d, Tx&) { slow(d); }};
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled >= 10);
  CHECK(instance.stats().in_flight <= 64);  // as many as before anything was known
  CHECK(scene.group().num_pending >= 300);
}

TEST_CASE("an instance whose handler has become slow gives back what its open pull has brought") {
  Scene scene;
  auto options = with_workers(scene.options(), GENERATE(0, 1));
  options.max_batch_time = 0ms;
  std::atomic<bool> slow{false};
  const auto handle = [&](const Delivery&) {
    if (slow) take_time(100ms);
  };
  Instance instance = options.workers > 0
                          ? Instance{scene.inbox(), options, Instance::WorkersHandler{handle}}
                          : Instance{scene.inbox(), options, [&](const Delivery& d, Tx&) { handle(d); }};
  instance.start();
  scene.publish_many(200, "fast");
  REQUIRE_WITHIN(20s, scene.all_acked());
  slow = true;
  scene.publish_many(400, "slow");
  REQUIRE_WITHIN(20s, instance.stats().in_flight >= (options.workers > 0 ? 8 : 300));
  Instance other{scene.inbox("other"), scene.options()};
  other.start();
  // Alone, it would take 40 s. The last ones that it keeps are its own.
  REQUIRE_WITHIN(25s, other.stats().handled + instance.stats().handled >= 590);
  CHECK(other.stats().handled >= 200);
}
