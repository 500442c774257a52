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

TEST_CASE("a lock that a handler runs into for a moment uses no attempt, at the first delivery and later") {
  Scene scene;
  OtherDatabase other{scene.place};
  int tries = 0;
  bool fails = true;
  Instance instance{scene.inbox(), scene.options(), on_event("one", [&] {
                      if (++tries == 3) other.unlock();  // at the third try
                      other.write();
                      if (!std::exchange(fails, false)) return;
                      throw std::runtime_error("once");
                    })};
  other.lock();
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.dead_letters().empty());
  CHECK(instance.stats().retried == 1);
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  const auto calls = instance.calls();
  CHECK(std::ranges::count(calls, 1, &Call::attempt) == 3);
  CHECK(std::ranges::count(calls, 2, &Call::attempt) == 1);
}

TEST_CASE("what handlers find locked for long is a failed attempt of theirs, and holds nobody up") {
  Scene scene;
  OtherDatabase other{scene.place};
  other.lock();
  auto options = scene.options();
  options.max_attempts = 3;
  Instance instance{scene.inbox(), options, [&](const Delivery& delivery, Tx&) {
                      if (delivery.event.id.starts_with("bad")) other.write();
                    }};
  for (int i = 0; i < 5; ++i) {
    scene.publish("good-" + std::to_string(i));
    for (int j = 0; j < 3; ++j) scene.publish("bad-" + std::to_string(i) + "-" + std::to_string(j));
  }
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 15);
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.effects() == std::vector<std::string>{"good-0", "good-1", "good-2", "good-3", "good-4"});
  const auto calls = instance.calls();
  CHECK(calls.size() <= 5 + 15 * 3 + 6);
  for (int i = 0; i < 5; ++i) CHECK(instance.calls_for("good-" + std::to_string(i)).size() == 1);
  for (const auto& letter : scene.dead_letters()) CHECK(letter.header("tidings-attempts") == "3");
}

TEST_CASE("a stop ends the wait for what a handler finds locked, and the messages go back") {
  Scene scene;
  OtherDatabase other{scene.place};
  other.lock();
  Instance waiting{scene.inbox(), scene.options(), [&](const Delivery&, Tx&) { other.write(); }};
  scene.publish_many(5);
  waiting.start();
  REQUIRE_WITHIN(10s, !waiting.calls().empty());
  waiting.stop();
  CHECK(waiting.error().empty());
  Instance staying{scene.inbox(), scene.options()};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(scene.effects().size() == 5);
  for (const auto& call : staying.calls()) CHECK(call.attempt == 1);
}
