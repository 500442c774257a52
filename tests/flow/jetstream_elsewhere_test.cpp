// Relay, consumers and commands whose streams are not those of the server and the account they log in to:
// behind leaf nodes, by the domain of the hub's JetStream, and in another account, by an API prefix.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"
#include "support/wait.hpp"

#include <atomic>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

/// Events, groups and dead letters, and programs that work on them from elsewhere.
struct Flow {
  explicit Flow(ConnectionOptions connecting) : connection(std::move(connecting)) {}

  [[nodiscard]] ProcessOptions process() const {
    return {.environment = {{"NATS_URL", connection.urls.at(0)},
                            {"NATS_USER", connection.user},
                            {"NATS_PASSWORD", connection.password},
                            {"NATS_JS_DOMAIN", connection.jetstream_domain},
                            {"NATS_JS_API_PREFIX", connection.jetstream_api_prefix},
                            {"DATABASE_URL", outbox.url()}}};
  }
  [[nodiscard]] Finished tidings(const std::vector<std::string>& arguments) const {
    return run(executable("tidings"), arguments, process());
  }
  [[nodiscard]] ConsumerOptions options() const {
    auto options = consumer_of({});
    options.connection = connection;
    return options;
  }

  const ConnectionOptions connection;
  Outbox outbox;
  TempDir folder;
  const InboxPlace inboxes{folder};
};

bool all_acked(JetStream& streams) {
  const auto state = streams.consumer("AUTH_EVENTS", "mailer");
  return state.num_ack_pending == 0 && state.acked_to == streams.last_sequence("AUTH_EVENTS");
}

/// All that relay, consumer and commands ask of JetStream; `streams` is where it must have happened.
void check_flow(Flow& flow, JetStream& streams) {
  flow.outbox.add_many(40, 5);
  const auto relayed = flow.tidings({"relay", "--drain"});
  INFO(relayed.err);
  REQUIRE(relayed.exit == exited(0));
  REQUIRE(streams.message_count("AUTH_EVENTS") == 40);

  const auto ids = flow.outbox.in_order();
  std::atomic<bool> broken{true};
  Instance mailer{flow.inboxes.location("inbox"), flow.options(), [&](const Delivery& delivery, Tx&) {
                    if (delivery.event.id == ids.at(0) && delivery.attempt == 1)
                      throw std::runtime_error("try again");
                    if (delivery.event.id == ids.at(1) && broken) throw Reject("not yet");
                  }};
  mailer.start();
  REQUIRE_WITHIN(20s, mailer.stats().handled == 39);
  REQUIRE_WITHIN(20s, all_acked(streams));  // long before AckWait
  CHECK(streams.message_count("AUTH_DLQ") == 1);
  CHECK(mailer.stats().retried == 1);

  CHECK_THAT(flow.tidings({"groups", "--json"}).out, ContainsSubstring(R"("group":"mailer")"));
  CHECK_THAT(flow.tidings({"dlq", "list", "--json"}).out, ContainsSubstring("not yet"));
  broken = false;
  const auto redriven = flow.tidings({"dlq", "redrive", "--all"});
  INFO(redriven.err);
  CHECK(redriven.exit == exited(0));
  REQUIRE_WITHIN(20s, mailer.stats().handled == 40);
  REQUIRE_WITHIN(20s, streams.message_count("AUTH_DLQ") == 0 && all_acked(streams));
  mailer.stop();
  CHECK(mailer.error().empty());
}

/// A server with the streams, and one that a leaf node connects to it, maybe with a JetStream of its own.
struct HubAndLeaf {
  explicit HubAndLeaf(bool leaf_has_jetstream)
      : hub({.config =
                 "server_name: hub\njetstream { domain: hub }\nleafnodes { listen: \"" + listen + "\" }\n"}),
        leaf({.config = "server_name: leaf\nleafnodes { remotes: [ { url: \"nats://" + listen + "\" } ] }\n" +
                        (leaf_has_jetstream ? "jetstream { domain: leaf }\n" : ""),
              .arguments = {},
              .jetstream = leaf_has_jetstream}) {}

  [[nodiscard]] ConnectionOptions connection() const {
    return {.urls = {leaf.url()}, .jetstream_domain = "hub"};
  }

  ReservedPort port;
  const std::string listen = "127.0.0.1:" + std::to_string(port.number());
  NatsServer hub, leaf;
  JetStream streams{hub.url()};
};

/// The account `shop` imports the JetStream of the account `streams`.
constexpr const char* two_accounts = R"(accounts {
  STREAMS {
    jetstream: enabled
    users: [ { user: streams, password: pw } ]
    exports: [ { service: "$JS.API.>", response: stream }, { service: "$JS.ACK.>" }, { service: "auth.>" } ]
  }
  SHOP {
    users: [ { user: shop, password: pw } ]
    imports: [ { service: { account: STREAMS, subject: "$JS.API.>" }, to: "JS.other.API.>" },
               { service: { account: STREAMS, subject: "$JS.ACK.>" } },
               { service: { account: STREAMS, subject: "auth.>" } } ]
  }
})";

}  // namespace

TEST_CASE("streams behind a leaf node are used by the hub's domain") {
  const bool leaf_has_jetstream = GENERATE(false, true);
  INFO("the leaf has a JetStream of its own: " << leaf_has_jetstream);
  HubAndLeaf servers{leaf_has_jetstream};
  Flow flow{servers.connection()};
  check_flow(flow, servers.streams);
  if (leaf_has_jetstream) CHECK_FALSE(JetStream{servers.leaf.url()}.has_stream("AUTH_EVENTS"));
}

TEST_CASE("consumer and relay on a leaf node go on when the hub was away") {
  HubAndLeaf servers{true};
  Flow flow{servers.connection()};
  Process relay{executable("tidings"), {"relay"}, flow.process()};
  Instance mailer{flow.inboxes.location("inbox"), flow.options()};
  mailer.start();
  flow.outbox.add_many(5, 1);
  REQUIRE_WITHIN(20s, mailer.stats().handled == 5);
  REQUIRE_WITHIN(20s, all_acked(servers.streams));
  servers.hub.stop();
  flow.outbox.add_many(5, 1, "later-");
  servers.hub.start();
  REQUIRE_WITHIN(40s, mailer.stats().handled == 10);
  REQUIRE_WITHIN(20s, all_acked(servers.streams));
  CHECK(mailer.stats().retried == 0);
  relay.kill(SIGTERM);
  CHECK(relay.wait() == exited(0));
}

TEST_CASE("streams of another account are used by the prefix under which its API is imported") {
  NatsServer server{{.config = two_accounts}};
  const auto of_port = "127.0.0.1:" + std::to_string(server.port());
  JetStream streams{"nats://streams:pw@" + of_port};
  Flow flow{{.urls = {"nats://" + of_port},
             .user = "shop",
             .password = "pw",
             .jetstream_api_prefix = "JS.other.API"}};
  check_flow(flow, streams);
}

TEST_CASE(
    "the flag for a domain wins over a prefix of the environment, and both flags together are refused") {
  HubAndLeaf servers{false};
  auto connection = servers.connection();
  connection.jetstream_domain.clear();
  connection.jetstream_api_prefix = "JS.other.API";
  const Flow flow{connection};
  servers.streams.add_stream("AUTH_EVENTS", {"auth.events.>"});
  REQUIRE_WITHIN(20s, flow.tidings({"groups", "--js-domain", "hub"}).exit == exited(0));
  const auto both = flow.tidings({"groups", "--nats-js-domain", "hub", "--js-api-prefix", "JS.x.API"});
  CHECK(both.exit == exited(2));
  CHECK_THAT(both.err, ContainsSubstring("NATS_JS_DOMAIN=hub and NATS_JS_API_PREFIX=JS.x.API exclude"));
}

TEST_CASE("a domain or a prefix that nobody knows is named by what waits for it") {
  NatsServer server;
  auto connection = ConnectionOptions{.urls = {server.url()}, .jetstream_domain = "nowhere"};
  const Flow flow{connection};
  const auto groups = flow.tidings({"groups"});
  CHECK(groups.exit == exited(1));
  CHECK_THAT(groups.err,
             ContainsSubstring("nobody listens to $JS.nowhere.API.>") && ContainsSubstring("NATS_JS_DOMAIN"));
  Instance mailer{flow.inboxes.location("inbox"), flow.options()};
  mailer.start();
  REQUIRE_WITHIN(20s, mailer.consumer.status().reason.find("$JS.nowhere.API") != std::string::npos);
  CHECK(mailer.consumer.status().state == ConsumerStatus::State::waiting);
}
