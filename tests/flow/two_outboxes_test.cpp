// Services whose ids are their own, on one stream: nothing of one is hidden by what another has sent.

#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

/// As a service writes that numbers its events itself.
void add_numbered(const Outbox& outbox, const std::string& metadata, int count) {
  std::string rows;
  for (int i = 1; i <= count; ++i) {
    const auto id = std::to_string(i);
    rows += (rows.empty() ? "('" : ", ('") + id + "', 'a" + std::to_string(i % 7) +
            R"(', 'Order', 'user.created', '{"data":{"n":)" + id + R"(},"metadata":)" + metadata +
            R"(}', '2026-01-31T08:15:30.123Z', '2026-01-31T08:15:30.123Z', '2026-01-31T08:15:30.123Z'))";
  }
  outbox.execute(
      "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, createdAt, "
      "updatedAt) VALUES " +
      rows);
}

}  // namespace

TEST_CASE("two outboxes with the same ids on one stream hide nothing of each other", "[engines]") {
  constexpr int count = 200;
  Scene scene;
  Outbox shop{engine_under_test()}, billing{engine_under_test()};
  OutboxProcessorOptions for_shop, for_billing;
  for_shop.backoff = for_billing.backoff = {.base = 20ms, .max = 200ms};
  if (GENERATE(false, true)) {  // the events say whose they are, or the processor does
    add_numbered(shop, R"({"source":"/shop"})", count);
    add_numbered(billing, R"({"source":"/billing"})", count);
  } else {
    add_numbered(shop, "{}", count);
    add_numbered(billing, "{}", count);
    for_shop.publisher.source = "/shop";
    for_billing.publisher.source = "/billing";
  }
  Processor one{shop, scene.server.url(), for_shop}, other{billing, scene.server.url(), for_billing};
  REQUIRE_WITHIN(20s, shop.count_status("PUBLISHED") == count && billing.count_status("PUBLISHED") == count);
  CHECK(scene.js.message_count("AUTH_EVENTS") == 2 * count);
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(instance.stats().handled == 2 * count);
  CHECK(instance.stats().duplicates == 0);
  CHECK(scene.effects().size() == 2 * count);
}
