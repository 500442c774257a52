// Rows that another program writes to while the relay has them: they are read again.

#include "services/publish_scheduler.hpp"
#include "support/catch.hpp"
#include "support/scheduled_event.hpp"

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a row that is read again while it is in memory goes out once") {
  PublishScheduler scheduler{10};
  scheduler.offer(event(1, "a"));
  scheduler.offer(event(2, "a"));
  const auto first = scheduler.next_send();
  REQUIRE(first);
  scheduler.offer(event(1, "a"));  // in flight
  scheduler.offer(event(2, "a"));  // waiting
  REQUIRE(scheduler.stored(first->token));
  const auto second = scheduler.next_send();
  REQUIRE(second);
  CHECK(second->event->id == "e2");
  REQUIRE(scheduler.stored(second->token));
  CHECK_FALSE(scheduler.next_send());
  CHECK(scheduler.idle());
}
