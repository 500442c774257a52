// A service that publishes and consumes over one connection.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_processor.hpp>

#include <optional>
#include <thread>

using namespace tidings;
using namespace tidings::test;

namespace {

std::jthread run(OutboxProcessor& processor) {
  return std::jthread{[&processor](const std::stop_token& stop) { processor.run(stop); }};
}

}  // namespace

TEST_CASE("a processor and consumers of two groups on one connection survive a restart of the server") {
  NatsServer server;
  JetStream js{server.url()};
  const TempDir folder;
  const InboxPlace inboxes{folder};
  Outbox outbox;
  auto options = consumer_of(server.url());
  Connection connection{options.connection};
  std::optional<OutboxProcessor> processor{std::in_place, outbox.url(), connection};
  auto processing = run(*processor);
  Instance mailer{inboxes.location("mailer"), connection, options};
  options.group = "audit";
  std::optional<Instance> audit{std::in_place, inboxes.location("audit"), connection, options};
  mailer.start();
  audit->start();
  outbox.add_many(100, 7);
  REQUIRE_WITHIN(20s, mailer.stats().handled == 100 && audit->stats().handled == 100);

  server.stop();
  outbox.add_many(100, 7);
  REQUIRE_WITHIN(20s, processor->status().phase == ProcessorStatus::Phase::waiting_for_broker);
  server.start();
  REQUIRE_WITHIN(20s, mailer.stats().handled == 200 && audit->stats().handled == 200);

  audit.reset();
  outbox.add_many(100, 7);
  REQUIRE_WITHIN(20s, mailer.stats().handled == 300);
  processing.request_stop();
  processing.join();
  processor.emplace(outbox.url(), connection);  // another takes its place
  processing = run(*processor);
  outbox.add_many(100, 7);
  REQUIRE_WITHIN(20s, mailer.stats().handled == 400);
  CHECK(ledger(outbox, js.messages("AUTH_EVENTS")) == "");
  CHECK(connection.generation() == 1);
}
