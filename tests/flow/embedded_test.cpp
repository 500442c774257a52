// A service that publishes two outboxes, each under its own prefix, and consumes, all over one connection.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_processor.hpp>

#include <thread>

using namespace tidings;
using namespace tidings::test;

namespace {

OutboxProcessorOptions publishing(const std::string& prefix, const std::string& stream) {
  OutboxProcessorOptions options;
  options.publisher.subject_prefix = prefix;
  options.publisher.stream = stream;
  options.publisher.source = "/" + prefix;
  return options;
}

std::jthread run(OutboxProcessor& processor) {
  return std::jthread{[&processor](const std::stop_token& stop) { processor.run(stop); }};
}

/// How many of the stream's messages are below the prefix and name it as their source.
int count_own(JetStream& js, const std::string& stream, const std::string& prefix) {
  int count = 0;
  for (const auto& message : js.messages(stream))
    if (message.subject.starts_with(prefix + ".") && message.header("ce-source") == "/" + prefix) ++count;
  return count;
}

}  // namespace

TEST_CASE("two processors for two prefixes and a consumer share a process and a connection", "[engines]") {
  constexpr int count = 200;
  const NatsServer server;
  JetStream js{server.url()};
  const TempDir folder;
  const InboxPlace inboxes{folder};
  Outbox shop{engine_under_test()}, billing{engine_under_test()};
  auto options = consumer_of(server.url());
  options.stream = "BILLING_EVENTS";
  options.subject_prefix = "billing.events";

  Connection connection{options.connection};
  OutboxProcessor of_shop{shop.url(), connection, publishing("shop.events", "SHOP_EVENTS")};
  OutboxProcessor of_billing{billing.url(), connection, publishing("billing.events", "BILLING_EVENTS")};
  const auto shop_thread = run(of_shop), billing_thread = run(of_billing);
  Instance consumer{inboxes.location("mailer"), connection, options};
  consumer.start();
  shop.add_many(count, 7);
  billing.add_many(count, 7);

  REQUIRE_WITHIN(20s, shop.count_status("PUBLISHED") == count && billing.count_status("PUBLISHED") == count);
  REQUIRE_WITHIN(20s, consumer.stats().handled == count);
  CHECK(count_own(js, "SHOP_EVENTS", "shop.events") == count);
  CHECK(count_own(js, "BILLING_EVENTS", "billing.events") == count);
  CHECK(js.message_count("SHOP_EVENTS") == count);
  CHECK(js.message_count("BILLING_EVENTS") == count);
}
