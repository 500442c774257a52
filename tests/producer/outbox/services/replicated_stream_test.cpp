// A processor on a stream with replicas. It must not be chained to: nats-server from 2.14 on stops such a
// stream for good at the first message whose expected last one is not the last.

#include "support/catch.hpp"
#include "support/nats_cluster.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr const char* chain_header = "Nats-Expected-Last-Msg-Id";

OutboxProcessorOptions with_replicas(int replicas) {
  OutboxProcessorOptions options;
  options.processing_interval = 60s;
  options.stream_replicas = replicas;
  return options;
}

std::int64_t chained_in(const std::vector<StoredMessage>& stream, std::uint64_t after = 0) {
  return std::ranges::count_if(stream, [after](const StoredMessage& message) {
    return message.seq > after && !message.header(chain_header).empty();
  });
}

}  // namespace

TEST_CASE("on a stream with replicas nothing is chained, others may publish to it, and commit order holds") {
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
  const auto stream = js.messages("AUTH_EVENTS");
  CHECK(chained_in(stream) == 0);
  std::vector<std::string> ids;
  for (const auto& message : stream)
    if (message.subject != "auth.events.of.another") ids.push_back(message.header("Nats-Msg-Id"));
  CHECK(ids == outbox.in_order());
  CHECK(outbox.count("retryCount > 0 OR lastError IS NOT NULL") == 0);
}

TEST_CASE("a stream that comes by replicas is not chained to any more") {
  NatsCluster cluster;
  auto& js = cluster.client();
  Outbox outbox;
  Processor processor{outbox, cluster.server(0).url(), with_replicas(1)};
  int events = 300;
  outbox.add_many(events, 7);
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == events);
  CHECK(chained_in(js.messages("AUTH_EVENTS")) > 200);

  auto config = js.stream_config("AUTH_EVENTS");
  config["num_replicas"] = 3;
  js.api("STREAM.UPDATE.AUTH_EVENTS", config);
  cluster.wait_for_replicas("AUTH_EVENTS");
  std::uint64_t last = 0;
  REQUIRE_WITHIN(20s, [&] {  // the news of it may come after the replicas
    last = js.last_sequence("AUTH_EVENTS");
    outbox.add("a");
    ++events;
    return eventually(10s, [&] { return outbox.count_status("PUBLISHED") == events; }) &&
           chained_in(js.messages("AUTH_EVENTS"), last) == 0;
  }());
  outbox.add_many(300, 7);
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == events + 300);
  CHECK(chained_in(js.messages("AUTH_EVENTS"), last) == 0);
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
