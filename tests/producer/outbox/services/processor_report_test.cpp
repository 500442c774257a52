// What a processor tells those who watch it: in trouble, and of what it has done.

#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/monitored.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/processor_run.hpp>

#include <string>
#include <thread>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

TEST_CASE("a processor's metrics are what the table and the stream say", "[engines]") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  for (int i = 0; i < 5; ++i) outbox.add("user" + std::to_string(i));
  for (int i = 0; i < 3; ++i) outbox.add("order" + std::to_string(i), "{}", "order.placed");
  outbox.add("large user", json_of_size(2000));
  for (int i = 0; i < 2; ++i)
    outbox.add("large order" + std::to_string(i), json_of_size(2000), "order.placed");
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 8 && outbox.count_status("DEAD_LETTER") == 3);

  const auto report = processor.report();
  const auto stream = broker.jetstream.messages("AUTH_EVENTS");
  for (const std::string type : {"user.created", "order.placed"}) {
    CAPTURE(type);
    const auto stored = std::ranges::count_if(
        stream, [&type](const auto& message) { return message.header("ce-type") == type; });
    CHECK(sample(report, "tidings_outbox_published_total", type) == static_cast<double>(stored));
    const auto dead = outbox.count("status = 'DEAD_LETTER' AND eventType = '" + type + "'");
    CHECK(sample(report, "tidings_outbox_dead_lettered_total", type) == static_cast<double>(dead));
    const auto refused = outbox.number(
        "SELECT coalesce(sum(retryCount), 0) FROM outbox_event WHERE eventType = '" + type + "'");
    CHECK(sample(report, "tidings_outbox_refused_total", type) == static_cast<double>(refused));
  }
  CHECK(outbox.number("SELECT sum(retryCount) FROM outbox_event") == 15);
}

TEST_CASE("a database that does not answer is told, and that it answers again") {
  Broker broker;
  Outbox outbox{Engine::postgres};
  Processor processor{outbox, broker.server.url(), quick_polling()};
  outbox.add("a");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1);
  const HealthLimits limits{.stalled_after = 1s};
  REQUIRE_WITHIN(10s, processor.report(limits).not_ready.empty());
  outbox.execute("ALTER SYSTEM SET synchronous_standby_names = 'ghost'");
  outbox.execute("SELECT pg_reload_conf()");
  REQUIRE_WITHIN(5s, processor.report(limits).stalled.find("the database hangs") != std::string::npos);
  CHECK_FALSE(processor.report(limits).not_ready.empty());
  outbox.execute("ALTER SYSTEM RESET synchronous_standby_names");
  outbox.execute("SELECT pg_reload_conf()");
  REQUIRE_WITHIN(10s, processor.report(limits).not_ready.empty());
}

TEST_CASE("a processor that is run again tells why it failed before, until it knows better") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"storage", "memory"}});
  Outbox outbox;
  ProcessorRun run;
  std::stop_source stop;
  const auto go = [&] {
    run.run(outbox.url(), ConnectionOptions{.urls = {broker.server.url()}}, quick(), stop.get_token());
  };
  CHECK_THROWS_AS(go(), Error);
  CHECK(run.status().phase == Phase::stopped);
  CHECK_THAT(run.status().waiting_because, ContainsSubstring("memory"));
  CHECK_THAT(run.report().stalled, ContainsSubstring("memory"));

  broker.server.pause();  // to connect takes a while now
  std::jthread again{[&] {
    try {
      go();
    } catch (const Error&) {  // of the stop
    }
  }};
  bool told = true;
  REQUIRE_WITHIN(20s, [&] {
    told = told && !run.status().waiting_because.empty();
    return run.status().phase == Phase::waiting_for_broker;
  }());
  CHECK(told);
  CHECK_THAT(run.report().not_ready, ContainsSubstring("waiting for broker: cannot connect to NATS"));
  CHECK(run.report().stalled.empty());
  broker.server.resume();
  stop.request_stop();
}
