// A processor on a stream with replicas.

#include "support/catch.hpp"
#include "support/nats_cluster.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

OutboxProcessorOptions with_replicas(int replicas) {
  OutboxProcessorOptions options;
  options.processing_interval = 60s;
  options.stream_replicas = replicas;
  return options;
}

}  // namespace

TEST_CASE("on a stream with replicas each aggregate keeps its order, and others may publish to it") {
  NatsCluster cluster;
  auto& js = cluster.client();
  Outbox outbox;
  auto options = with_replicas(3);
  if (GENERATE(true, false)) {
    js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"num_replicas", 3}});
    options.manage_stream = false;
  }
  Processor processor{outbox, cluster.server(0).url(), options};
  for (int round = 1; round <= 10; ++round) {
    outbox.add_many(50, 1, "hot");
    outbox.add_many(50, 50, "other");
    if (round > 1) js.publish("auth.events.of.another", "{}");
    REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == round * 100);
  }
  auto stream = js.messages("AUTH_EVENTS");
  std::erase_if(stream, [](const auto& message) { return message.subject == "auth.events.of.another"; });
  CHECK(ledger(outbox, stream) == "");
  CHECK(outbox.count("retryCount > 0 OR lastError IS NOT NULL") == 0);
}

TEST_CASE("a cluster that has too few servers for the replicas is waited for") {
  NatsCluster cluster;  // as one looks that is still forming
  Outbox outbox;
  outbox.add("a");
  Processor processor{outbox, cluster.server(0).url(), with_replicas(NatsCluster::size + 2)};
  REQUIRE_WITHIN(20s, processor.status().waiting_because.find("10005") != std::string::npos);
  CHECK(processor.phase() == ProcessorStatus::Phase::waiting_for_broker);
  processor.stop();
  CHECK(processor.error() == "");
  CHECK(outbox.count("status <> 'PENDING' OR retryCount > 0") == 0);
}
