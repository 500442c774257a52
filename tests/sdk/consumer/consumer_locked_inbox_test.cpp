// A consumer while another holds a lock on its inbox, or on what its handlers write.

#include "support/consuming.hpp"
#include "support/inbox_faults.hpp"

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;
using State = ConsumerStatus::State;

TEST_CASE("an inbox that another locks uses no attempt, and the messages are handled after it") {
  Scene scene;
  scene.publish("one");
  Instance instance{scene.inbox(), scene.options()};
  be_impatient(instance.inbox);
  {
    const InboxLock lock{scene.place};
    instance.start();
    // It needs the inbox before it takes messages (it forgets old ids), and must wait there.
    REQUIRE_WITHIN(10s, scene.has_group());
    scene.publish("two");
    REQUIRE_WITHIN(10s, instance.consumer.status().state == State::waiting);
    const auto begun = steady_clock::now();
    REQUIRE_WITHIN(10s, steady_clock::now() > begun + 300ms);
    CHECK(instance.calls().empty());
    CHECK_FALSE(instance.ended());
  }
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.error().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one", "two"});
  CHECK(instance.stats().retried == 0);
  for (const auto& call : instance.calls()) CHECK(call.attempt == 1);
}

TEST_CASE("a stop while another locks the inbox ends the run, and the messages go back") {
  Scene scene;
  Instance leaving{scene.inbox(), scene.options()};
  be_impatient(leaving.inbox);
  {
    const InboxLock lock{scene.place};
    leaving.start();
    scene.publish_many(5);
    REQUIRE_WITHIN(10s, scene.has_group() && scene.group().num_ack_pending == 5);
    leaving.ask_to_stop();
    REQUIRE_WITHIN(10s, leaving.ended());
  }
  CHECK(leaving.error().empty());
  CHECK(leaving.calls().empty());
  Instance staying{scene.inbox(), scene.options()};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(scene.effects().size() == 5);
  for (const auto& call : staying.calls()) CHECK(call.attempt == 1);
}

TEST_CASE("a lock that a handler runs into uses no attempt, at the first delivery and at a later one") {
  Scene scene;
  OtherDatabase other{scene.place};
  auto options = scene.options();
  options.max_attempts = 2;
  bool fails = true;
  Instance instance{scene.inbox(), options, on_event("one", [&] {
                      other.write();
                      if (!std::exchange(fails, false)) return;
                      other.lock();  // and it is locked again when the message comes back
                      throw std::runtime_error("once");
                    })};
  const auto calls_of_attempt = [&](int attempt) {
    return std::ranges::count(instance.calls(), attempt, &Call::attempt);
  };
  other.lock();
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, calls_of_attempt(1) >= 3);
  CHECK(instance.stats().retried == 0);
  other.unlock();
  REQUIRE_WITHIN(10s, calls_of_attempt(2) >= 3);
  CHECK(instance.stats().retried == 1);
  other.unlock();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.dead_letters().empty());
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  for (const auto& call : instance.calls()) CHECK(call.delivered == static_cast<std::uint64_t>(call.attempt));
}

TEST_CASE("a stop ends the wait for what a handler finds locked, and the messages go back") {
  Scene scene;
  OtherDatabase other{scene.place};
  other.lock();
  Instance waiting{scene.inbox(), scene.options(), [&](const Delivery&, Tx&) { other.write(); }};
  scene.publish_many(5);
  waiting.start();
  REQUIRE_WITHIN(10s, waiting.calls().size() >= 2);
  waiting.stop();
  CHECK(waiting.error().empty());
  Instance staying{scene.inbox(), scene.options()};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(scene.effects().size() == 5);
  for (const auto& call : staying.calls()) CHECK(call.attempt == 1);
}
