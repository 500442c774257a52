// A processor on a server that has atomic batches: many waiting events of an aggregate go in one.

#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/nats_cluster.hpp"
#include "support/newer_nats.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/sized_json.hpp"
#include "support/tcp_proxy.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

namespace {

struct Broker {
  explicit Broker(const std::string& config = {}) : server({.config = config}), jetstream(server.url()) {}
  void add_stream(nlohmann::json config = nlohmann::json::object()) {
    config["allow_atomic"] = true;
    jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, config);
  }
  NatsServer server;
  JetStream jetstream;
};

std::int64_t in_batches(const std::vector<StoredMessage>& stream) {
  return std::ranges::count_if(
      stream, [](const StoredMessage& message) { return !message.header("Nats-Batch-Id").empty(); });
}

/// Everything is in the stream, once, in order and at its first attempt.
void check_all(const Outbox& outbox, JetStream& jetstream) {
  const auto stream = jetstream.messages("AUTH_EVENTS");
  CHECK(stream.size() == static_cast<std::size_t>(outbox.count_status("PUBLISHED")));
  CHECK(ledger(outbox, stream) == "");
  CHECK(outbox.count("retryCount > 0 OR lastError IS NOT NULL") == 0);
}

}  // namespace

TEST_CASE("a hot aggregate goes out in batches, in order and each event once, and copies have all of it",
          "[engines]") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker;
  Outbox outbox{engine_under_test()};
  Processor processor{outbox, broker.server.url(), quick()};
  for (int i = 0; i < 4; ++i) {
    outbox.add_many(1000, 1, "hot-");
    outbox.add_many(300, 3, "warm-");
    outbox.add_many(100, 100);
  }
  REQUIRE_WITHIN(30s, outbox.count_status("PUBLISHED") == 5600);
  check_all(outbox, broker.jetstream);
  CHECK(broker.jetstream.stream_config("AUTH_EVENTS").value("allow_atomic", false));
  CHECK(in_batches(broker.jetstream.messages("AUTH_EVENTS")) > 2000);

  broker.jetstream.add_stream("COPY", {}, {{"mirror", {{"name", "AUTH_EVENTS"}, {"opt_start_seq", 700}}}});
  broker.jetstream.add_stream("SOME", {}, {{"sources", {{{"name", "AUTH_EVENTS"}}}}});
  CHECK(eventually(20s, [&] { return broker.jetstream.message_count("COPY") == 5600 - 699; }));
  CHECK(eventually(20s, [&] { return broker.jetstream.message_count("SOME") == 5600; }));
}

TEST_CASE("a stream that does not allow batches is used without, which is told once") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Outbox outbox;
  outbox.add_many(200, 1, "hot-");
  const Log log;
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 200);
  broker.server.stop();
  REQUIRE_WITHIN(20s, processor.phase() == Phase::waiting_for_broker);
  broker.server.start();
  outbox.add("hot-0");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 201);
  processor.stop();
  const auto text = log.text();
  const auto told = text.find("has no allow_atomic");
  CHECK(told != std::string::npos);
  CHECK(text.find("has no allow_atomic", told + 1) == std::string::npos);
  check_all(outbox, broker.jetstream);
  CHECK(in_batches(broker.jetstream.messages("AUTH_EVENTS")) == 0);
}

TEST_CASE("events that the stream has already are no failure of the batch that they are in") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker;
  broker.add_stream();
  Outbox outbox;
  outbox.add_many(100, 1, "hot-");
  const auto ids = outbox.in_order();
  for (std::size_t i = 0; i < 30; ++i)  // as a relay leaves it that was killed before it marked them
    broker.jetstream.publish("auth.events.user.created", "{}",
                             {{"Nats-Msg-Id", ids[i]}, {"ce-id", ids[i]}, {"ce-subject", "hot-0"}});
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 100);
  outbox.add_many(100, 1, "hot-");
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 200);
  check_all(outbox, broker.jetstream);
  CHECK(in_batches(broker.jetstream.messages("AUTH_EVENTS")) > 50);
}

TEST_CASE("an event that is refused in a batch is FAILED and its aggregate's later ones wait, as elsewhere",
          "[engines]") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker;
  broker.add_stream({{"max_msg_size", 1000}});
  Outbox outbox{engine_under_test()};
  std::string poison;
  outbox.database().transact([&](Transaction& transaction) {
    for (int i = 0; i < 100; ++i) {
      DomainEvent event;
      event.aggregate_id = i % 2 == 0 ? "hot" : "warm";
      event.aggregate_type = "User";
      event.event_type = "user.created";
      if (i == 60) event.data = std::string(2000, 'x');
      if (i == 60) poison = event.id;
      outbox.repository().add(transaction, event);
    }
  });
  Processor processor{outbox, broker.server.url(), quick()};
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 99 && outbox.count_status("DEAD_LETTER") == 1);
  CHECK(outbox.value(poison, "status") == "DEAD_LETTER");
  CHECK(outbox.value(poison, "retryCount") == "5");
  CHECK_THAT(outbox.value(poison, "lastError"), ContainsSubstring("message size exceeds maximum allowed"));
  CHECK(outbox.count("retryCount > 0") == 1);
  CHECK(ledger(outbox, broker.jetstream.messages("AUTH_EVENTS")) == "");
}

TEST_CASE("an event that fits alone, but not with the headers of a batch, goes alone") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker{"max_payload: 4096"};
  broker.add_stream();
  Outbox outbox;
  Processor processor{outbox, broker.server.url(), quick()};
  outbox.add("hot-0", json_of_size(1000));
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 1);
  std::size_t headers = std::string("NATS/1.0\r\n\r\n").size();
  const auto stored = broker.jetstream.messages("AUTH_EVENTS");
  for (const auto& [name, value] : stored.at(0).headers)
    headers += name.size() + value.size() + std::string(": \r\n").size();
  for (int i = 0; i < 5; ++i) {
    outbox.add_many(40, 1, "hot-");
    outbox.add("hot-0", json_of_size(4096 - headers));
  }
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 206);
  check_all(outbox, broker.jetstream);
}

TEST_CASE("a batch that is cut off half way costs neither event nor order nor attempt", "[engines]") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker;
  broker.add_stream();
  Outbox outbox{engine_under_test()};
  TcpProxy proxy{broker.server.port()};
  Processor processor{outbox, proxy.url(), quick()};
  REQUIRE_WITHIN(10s, processor.phase() == Phase::active);
  int events = 0;
  for (std::uint64_t bytes = 1; bytes < 60000; bytes += 5417) {
    const auto cuts = proxy.cuts();
    proxy.cut_after_bytes_to_server(bytes);
    outbox.add_many(120, 2);
    events += 120;
    REQUIRE_WITHIN(10s, proxy.cuts() > cuts);
  }
  REQUIRE_WITHIN(30s, outbox.count_status("PUBLISHED") == events);
  check_all(outbox, broker.jetstream);
}

TEST_CASE("a batch whose commit is not answered is sent again event by event, and stored once") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  Broker broker;
  broker.add_stream();
  Outbox outbox;
  TcpProxy proxy{broker.server.port()};
  Processor processor{outbox, proxy.url(), quick()};
  REQUIRE_WITHIN(10s, processor.phase() == Phase::active);
  proxy.swallow_from_server(true);
  outbox.add_many(100, 1, "hot-");
  REQUIRE_WITHIN(10s, broker.jetstream.message_count("AUTH_EVENTS") == 100);
  CHECK(in_batches(broker.jetstream.messages("AUTH_EVENTS")) == 100);
  outbox.add_many(100, 1, "hot-");
  proxy.cut();
  proxy.swallow_from_server(false);
  REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") == 200);
  check_all(outbox, broker.jetstream);
}

TEST_CASE("the leader of a stream is killed while batches are under way: nothing is lost or inverted") {
  const auto newer = newer_nats();
  if (!newer) return;
  const NatsProgram chosen{*newer};
  NatsCluster cluster;
  Outbox outbox;
  auto options = quick();
  options.stream_replicas = 3;
  Processor processor{outbox, cluster.server(0).url(), options};
  REQUIRE_WITHIN(20s, processor.phase() == Phase::active);
  std::int64_t events = 0;
  for (int round = 0; round < 2; ++round) {
    outbox.add_many(6000, 2, "hot-");
    outbox.add_many(200, 50);
    events += 6200;
    const auto leader = cluster.new_leader("AUTH_EVENTS", NatsCluster::none);
    REQUIRE_WITHIN(20s, outbox.count_status("PUBLISHED") > events - 6000);
    cluster.kill(leader);
    cluster.new_leader("AUTH_EVENTS", leader);
    REQUIRE_WITHIN(60s, outbox.count_status("PUBLISHED") == events);
    cluster.start();
    cluster.wait_for_replicas("AUTH_EVENTS");
  }
  auto& jetstream = cluster.client();
  check_all(outbox, jetstream);
  CHECK(in_batches(jetstream.messages("AUTH_EVENTS")) > 2000);
}
