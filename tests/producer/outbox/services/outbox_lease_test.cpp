// One of several processors publishes: who holds the lease, and how it goes over.

#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <optional>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

TEST_CASE("a second processor stands by, and takes over at once when the first stops", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  auto options = quick();
  options.lease = 60s;
  std::optional<Processor> first;
  first.emplace(outbox, broker.server.url(), options);
  REQUIRE_WITHIN(5s, first->phase() == Phase::active);
  Processor second{outbox, broker.server.url(), options};
  REQUIRE_WITHIN(5s, second.phase() == Phase::standby);
  outbox.add_many(100, 10);
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 100);
  CHECK(second.status().published == 0);
  first.reset();
  outbox.add_many(100, 10);
  REQUIRE_WITHIN(5s, outbox.count_status("PUBLISHED") == 200);
  CHECK(second.phase() == Phase::active);
}

TEST_CASE("a processor whose lease was taken stops writing, and stands by", "[engines]") {
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(5s, processor.phase() == Phase::active);
  outbox.execute("UPDATE outbox_lease SET holder = 'another', epoch = epoch + 1, expiresAt = 9999999999999");
  const auto id = outbox.add("a");
  REQUIRE_WITHIN(5s, processor.phase() == Phase::standby);
  CHECK(outbox.value(id, "status") == "PENDING");  // sent perhaps, but not marked by the one that lost
}
