// What a consumer sees by looking at its group every ten seconds. It looks no other way with an inbox in
// PostgreSQL: these run on SQLite alone, for the time they take.

#include "support/consuming.hpp"
#include "support/gate.hpp"

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

constexpr std::int64_t second = 1'000'000'000;

}  // namespace

TEST_CASE("an idle instance sees the lag of its group within ten seconds") {
  Scene scene;
  // One message at a time for the whole group: while one instance holds it, the other gets nothing.
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 3600 * second}, {"max_ack_pending", 1}});
  Gate gate;
  Instance busy{scene.inbox(), scene.options(), [&](const Delivery&, Tx&) { gate.pass(); }};
  scene.publish_many(50);
  busy.start();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  Instance idle{scene.inbox("other"), scene.options()};
  idle.start();
  REQUIRE_WITHIN(10s, idle.stats().lag == 49);
  scene.js.purge("AUTH_EVENTS");
  REQUIRE_WITHIN(12s, idle.stats().lag == 0);
  CHECK(idle.stats().received == 0);  // no message has told it
  gate.open();
}

TEST_CASE("a push consumer that is deleted while it is connected ends the run with an error") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer",
                        {{"deliver_subject", "to.mailers"}, {"deliver_group", "mailers"}});
  Instance instance{scene.inbox(), scene.options()};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  const auto deleted = steady_clock::now();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(steady_clock::now() - deleted < 13s);  // it looks every 10 s, nothing is told to it
  CHECK_THAT(instance.error(),
             ContainsSubstring("the push consumer mailer on the stream AUTH_EVENTS was deleted"));
  CHECK_FALSE(scene.has_group());  // no pull consumer in its place
}
