// The whole flow on deploy's cluster, each program with the login of its user.

#include "support/catch.hpp"
#include "support/deployed_flow.hpp"
#include "support/deployed_nats.hpp"
#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <csignal>
#include <string>

using namespace tidings::test;

namespace {

/// Dead letters as the operator sees them; none while the stream is not there.
std::size_t dead_letters(JetStream& js) {
  return js.has_stream("AUTH_DLQ") ? js.message_count("AUTH_DLQ") : 0;
}

bool all_acked(JetStream& js) {
  const auto group = js.consumer("AUTH_EVENTS", "welcome-mailer");
  return group.num_pending == 0 && group.num_ack_pending == 0;
}

}  // namespace

TEST_CASE("on the cluster of deploy, relay and consumers do all they must with the rights of their users") {
  DeployedCluster cluster;
  DeployedFlow flow{cluster.urls(), "3"};
  auto active = flow.start_relay();
  auto standby = flow.start_relay();
  REQUIRE_WITHIN(60s, cluster.has_stream("AUTH_EVENTS"));
  auto js = cluster.client(operator_login());
  auto one = flow.start_consumer();
  auto two = flow.start_consumer();
  flow.register_users(300);
  REQUIRE_WITHIN(60s, flow.emails() == 300);
  REQUIRE_WITHIN(10s, flow.published() == 300);

  for (const auto* stream : {"AUTH_EVENTS", "AUTH_DLQ"}) {
    CHECK(js.stream_config(stream).at("num_replicas") == 3);
    CHECK(js.stream_config(stream).at("storage") == "file");
  }

  // Dead letters: undecodable at once, and one whose handler fails (its e-mail is there) after a retry.
  flow.register_nonsense(3);
  sqlite::execute(flow.auth_db(), R"(INSERT INTO outbox_event SELECT 'again', "aggregateId", "aggregateType",
      "eventType", "eventData", 1, "occurredAt", NULL, NULL, 0, NULL, 'PENDING', "createdAt", "updatedAt"
      FROM outbox_event WHERE "eventData" LIKE '%user7@%' LIMIT 1)");
  REQUIRE_WITHIN(30s, dead_letters(js) == 4);
  REQUIRE_WITHIN(30s, all_acked(js));
  CHECK((one.err() + two.err()).find("retry id=again") != std::string::npos);
  for (const auto& letter : js.messages("AUTH_DLQ"))
    CHECK(letter.subject == "auth.dlq.welcome-mailer.user.created");

  // Redelivery: what a killed instance had goes to the other; the second relay takes over from the first.
  flow.register_users(500, "example.com");
  REQUIRE_WITHIN(30s, flow.emails() > 320);
  one.kill(SIGKILL);
  active.kill(SIGKILL);
  REQUIRE_WITHIN(60s, flow.emails() == 800);
  REQUIRE_WITHIN(30s, flow.published() == 804);
  REQUIRE_WITHIN(30s, all_acked(js));

  for (auto* process : {&standby, &two}) {
    process->kill(SIGTERM);
    CHECK(process->wait() == exited(0));
  }
  flow.register_users(10, "example.net");
  auto draining = flow.start_relay({"relay", "--drain"});
  CHECK(draining.wait() == exited(0));
  CHECK(flow.published() == 814);
  auto last = flow.start_consumer({"--exit-when-idle", "1500"});
  CHECK(last.wait() == exited(0));
  CHECK(flow.emails() == 810);

  for (auto* process : {&active, &standby, &one, &two, &draining, &last})
    CHECK(process->err().find("nats refuses") == std::string::npos);
  CHECK(cluster.log().find("Violation") == std::string::npos);
}

TEST_CASE("a consumer that starts before the relay waits for the stream that it may not make") {
  NatsServer server{
      {.config = accounts_with_passwords(), .arguments = {}, .jetstream = true, .monitoring = false}};
  DeployedFlow flow{server.url()};
  auto consumer = flow.start_consumer();
  REQUIRE(consumer.wait_for_output("$JS.API.STREAM.CREATE.AUTH_EVENTS"));
  flow.register_users(3);
  auto relay = flow.start_relay();
  REQUIRE_WITHIN(20s, flow.emails() == 3);
}
