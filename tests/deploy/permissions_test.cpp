// What each user of deploy/nats/accounts.conf may do, and what it is refused.

#include "support/catch.hpp"
#include "support/deployed_nats.hpp"
#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <nats/nats.h>

#include <memory>
#include <string>
#include <vector>

using namespace tidings::test;

namespace {

NatsServer server_with(const std::string& accounts) {
  return NatsServer{{.config = accounts, .arguments = {}, .jetstream = true, .monitoring = false}};
}

/// A client of its own for each question, so that an earlier refusal is not taken for this one's.
class User {
 public:
  User(Login login, int port) : login_(std::move(login)), port_(port) {}

  [[nodiscard]] bool may_publish(const std::string& subject) const {
    return permitted([&](natsConnection* connection) {
      return natsConnection_PublishString(connection, subject.c_str(), "");
    });
  }
  [[nodiscard]] bool may_subscribe(const std::string& subject) const {
    natsSubscription* subscription = nullptr;
    const bool permitted_to = permitted([&](natsConnection* connection) {
      return natsConnection_SubscribeSync(&subscription, connection, subject.c_str());
    });
    natsSubscription_Destroy(subscription);
    return permitted_to;
  }

 private:
  template <class Action>
  bool permitted(Action action) const {
    natsConnection* connection = nullptr;
    REQUIRE(natsConnection_ConnectTo(&connection, login_.url(port_).c_str()) == NATS_OK);
    REQUIRE(action(connection) == NATS_OK);
    REQUIRE(natsConnection_FlushTimeout(connection, 5000) == NATS_OK);  // a refusal comes before the PONG
    const char* text = nullptr;
    const auto status = natsConnection_GetLastError(connection, &text);
    natsConnection_Destroy(connection);
    REQUIRE((status == NATS_OK || status == NATS_NOT_PERMITTED));
    return status == NATS_OK;
  }

  Login login_;
  int port_;
};

/// A server whose streams and groups are made already, with one event.
struct Scene {
  Scene() {
    for (const auto* name : {"AUTH_EVENTS", "AUTH_DLQ"})
      js.add_stream(name, {name == std::string{"AUTH_DLQ"} ? "auth.dlq.>" : "auth.events.>"});
    js.add_consumer("AUTH_EVENTS", "welcome-mailer");
    js.add_consumer("AUTH_EVENTS", "audit");
    js.publish("auth.events.user.created", "{}");
  }
  ~Scene() {
    CHECK(js.message_count("AUTH_EVENTS") >= 1);  // whatever was tried
    CHECK(js.has_consumer("AUTH_EVENTS", "audit"));
  }

  NatsServer server = server_with(accounts_with_passwords());
  JetStream js{operator_login().url(server.port()), 10s, operator_login().inbox_prefix};
};

void check_publishing(const User& user, bool permitted, const std::vector<std::string>& subjects) {
  for (const auto& subject : subjects) {
    INFO("publish to " << subject);
    CHECK(user.may_publish(subject) == permitted);
  }
}

void check_subscribing(const User& user, bool permitted, const std::vector<std::string>& subjects) {
  for (const auto& subject : subjects) {
    INFO("subscribe to " << subject);
    CHECK(user.may_subscribe(subject) == permitted);
  }
}

}  // namespace

TEST_CASE("the relay may publish events and make their stream, and nothing else") {
  Scene scene;
  const User relay{relay_login(), scene.server.port()};
  check_publishing(
      relay, true,
      {"auth.events.user.created", "$JS.API.STREAM.INFO.AUTH_EVENTS", "$JS.API.STREAM.CREATE.AUTH_EVENTS"});
  check_publishing(
      relay, false,
      {"auth.dlq.welcome-mailer.user.created", "other", "$JS.API.STREAM.UPDATE.AUTH_EVENTS",
       "$JS.API.STREAM.PURGE.AUTH_EVENTS", "$JS.API.STREAM.DELETE.AUTH_EVENTS",
       "$JS.API.STREAM.MSG.GET.AUTH_EVENTS", "$JS.API.STREAM.MSG.DELETE.AUTH_EVENTS",
       "$JS.API.DIRECT.GET.AUTH_EVENTS", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.CONSUMER.CREATE.AUTH_EVENTS",
       "$JS.API.CONSUMER.CREATE.AUTH_EVENTS.mine", "$JS.API.CONSUMER.DURABLE.CREATE.AUTH_EVENTS.mine",
       "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.welcome-mailer",
       "$JS.API.CONSUMER.DELETE.AUTH_EVENTS.welcome-mailer", "$JS.ACK.AUTH_EVENTS.welcome-mailer.1.1.1.1.0",
       "$SYS.REQ.SERVER.PING", "_INBOX_operator.x"});
  check_subscribing(relay, true, {"_INBOX_relay.x", "_INBOX_relay.x.*"});
  check_subscribing(relay, false,
                    {"auth.events.>", "auth.dlq.>", ">", "_INBOX.>", "_INBOX_welcome-mailer.>", "$JS.>"});
}

TEST_CASE("a consumer may take, ack and dead-letter what is its group's, and nothing else") {
  Scene scene;
  const User mailer{mailer_login(), scene.server.port()};
  check_publishing(
      mailer, true,
      {"$JS.API.STREAM.INFO.AUTH_EVENTS", "$JS.API.STREAM.INFO.AUTH_DLQ", "$JS.API.STREAM.CREATE.AUTH_DLQ",
       "$JS.API.CONSUMER.DURABLE.CREATE.AUTH_EVENTS.welcome-mailer",
       "$JS.API.CONSUMER.INFO.AUTH_EVENTS.welcome-mailer",
       "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.welcome-mailer", "$JS.ACK.AUTH_EVENTS.welcome-mailer.1.1.1.1.0",
       "$JS.ACK._.hash.AUTH_EVENTS.welcome-mailer.1.1.1.1.0.r", "auth.dlq.welcome-mailer.user.created"});
  check_publishing(mailer, false,
                   {"auth.events.user.created",
                    "auth.dlq.audit.user.created",
                    "$JS.API.STREAM.CREATE.AUTH_EVENTS",
                    "$JS.API.STREAM.UPDATE.AUTH_EVENTS",
                    "$JS.API.STREAM.PURGE.AUTH_EVENTS",
                    "$JS.API.STREAM.DELETE.AUTH_EVENTS",
                    "$JS.API.STREAM.MSG.GET.AUTH_EVENTS",
                    "$JS.API.STREAM.MSG.DELETE.AUTH_EVENTS",
                    "$JS.API.DIRECT.GET.AUTH_EVENTS",
                    "$JS.API.STREAM.UPDATE.AUTH_DLQ",
                    "$JS.API.STREAM.PURGE.AUTH_DLQ",
                    "$JS.API.STREAM.DELETE.AUTH_DLQ",
                    "$JS.API.STREAM.MSG.GET.AUTH_DLQ",
                    "$JS.API.CONSUMER.CREATE.AUTH_EVENTS",
                    "$JS.API.CONSUMER.DELETE.AUTH_EVENTS.welcome-mailer",
                    "$JS.API.CONSUMER.DELETE.AUTH_EVENTS.audit",
                    "$JS.API.CONSUMER.DURABLE.CREATE.AUTH_EVENTS.audit",
                    "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.audit",
                    "$JS.ACK.AUTH_EVENTS.audit.1.1.1.1.0",
                    "$JS.ACK._.hash.AUTH_EVENTS.audit.1.1.1.1.0.r",
                    "$SYS.REQ.SERVER.PING",
                    "_INBOX_relay.x"});
  check_subscribing(
      mailer, true,
      {"_INBOX_welcome-mailer.x", "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.AUTH_EVENTS.welcome-mailer"});
  check_subscribing(mailer, false,
                    {"auth.events.>", "auth.dlq.>", ">", "_INBOX.>", "_INBOX_relay.>", "$JS.EVENT.ADVISORY.>",
                     "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.AUTH_EVENTS.audit"});
}

TEST_CASE("the operator may look, make groups and clear dead letters, but not take or delete events") {
  Scene scene;
  const User oper{operator_login(), scene.server.port()};
  check_publishing(
      oper, true,
      {"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.STREAM.INFO.AUTH_EVENTS",
       "$JS.API.STREAM.MSG.GET.AUTH_EVENTS", "$JS.API.STREAM.MSG.GET.AUTH_DLQ",
       "$JS.API.STREAM.PURGE.AUTH_DLQ", "$JS.API.STREAM.MSG.DELETE.AUTH_DLQ",
       "$JS.API.CONSUMER.NAMES.AUTH_EVENTS", "$JS.API.CONSUMER.LIST.AUTH_EVENTS",
       "$JS.API.CONSUMER.INFO.AUTH_EVENTS.audit", "$JS.API.CONSUMER.DURABLE.CREATE.AUTH_EVENTS.new",
       "$JS.API.CONSUMER.CREATE.AUTH_EVENTS.new.auth.events.>", "auth.events.user.created",
       "$SYS.REQ.ACCOUNT.PING.CONNZ"});
  check_publishing(oper, false,
                   {"$JS.API.STREAM.DELETE.AUTH_EVENTS", "$JS.API.STREAM.PURGE.AUTH_EVENTS",
                    "$JS.API.STREAM.MSG.DELETE.AUTH_EVENTS", "$JS.API.STREAM.CREATE.OTHER",
                    "$JS.API.STREAM.DELETE.AUTH_DLQ", "$JS.API.STREAM.RESTORE.AUTH_EVENTS",
                    "$JS.API.STREAM.SNAPSHOT.AUTH_EVENTS", "$JS.API.CONSUMER.MSG.NEXT.AUTH_EVENTS.audit",
                    "$JS.ACK.AUTH_EVENTS.audit.1.1.1.1.0", "auth.dlq.audit.user.created",
                    "$SYS.REQ.SERVER.PING", "$JS.API.ACCOUNT.PURGE.AUTH", "_INBOX_relay.x"});
  check_subscribing(oper, true, {"_INBOX_operator.x", "auth.events.>", "auth.dlq.>", "$JS.EVENT.ADVISORY.>"});
  check_subscribing(oper, false, {">", "_INBOX.>", "_INBOX_relay.>", "$SYS.>", "$JS.API.>"});
}

TEST_CASE("the operator's commands need no more than the operator's rights") {
  Scene scene;
  JetStream mailer{mailer_login().url(scene.server.port()), 10s, mailer_login().inbox_prefix};
  mailer.publish("auth.dlq.welcome-mailer.user.created", "{}",
                 {{"ce-id", "one"},
                  {"tidings-group", "welcome-mailer"},
                  {"tidings-reason", "no such address"},
                  {"tidings-original-stream", "AUTH_EVENTS"},
                  {"tidings-original-subject", "auth.events.user.created"}});
  auto environment = operator_login().settings();
  environment.emplace_back("NATS_URL", scene.server.url());
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"groups"},
                                                                     {"dlq", "list"},
                                                                     {"dlq", "show", "1"},
                                                                     {"dlq", "redrive", "1"},
                                                                     {"dlq", "purge", "--yes"}}) {
    const auto finished = run(executable("tidings"), arguments, {.environment = environment});
    CAPTURE(arguments, finished.out);
    CHECK(finished.exit == exited(0));
    CHECK(finished.err.empty());
  }
  CHECK(scene.js.message_count("AUTH_EVENTS") == 2);
  CHECK(scene.js.message_count("AUTH_DLQ") == 0);
}

TEST_CASE("the monitor sees servers and no event") {
  Scene scene;
  const User monitor{monitor_login(), scene.server.port()};
  check_publishing(monitor, true,
                   {"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.ACCOUNT.AUTH.CONNZ"});
  check_publishing(monitor, false,
                   {"auth.events.user.created", "$JS.API.STREAM.INFO.AUTH_EVENTS", "$SYS.REQ.SERVER.N.RELOAD",
                    "$SYS.REQ.CLAIMS.UPDATE", "$SYS.ACCOUNT.AUTH.CONNECT"});
  check_subscribing(monitor, true, {"_INBOX_monitor.x", "$SYS.ACCOUNT.>", "$SYS.SERVER.>"});
  check_subscribing(monitor, false, {"auth.events.>", ">", "_INBOX.>"});

  // Its account has no subject of the other's, whatever it may subscribe to.
  natsConnection* connection = nullptr;
  natsMsg* answer = nullptr;
  natsOptions* options = nullptr;
  REQUIRE(natsOptions_Create(&options) == NATS_OK);
  natsOptions_SetURL(options, monitor_login().url(scene.server.port()).c_str());
  natsOptions_SetCustomInboxPrefix(options, monitor_login().inbox_prefix.c_str());
  REQUIRE(natsConnection_Connect(&connection, options) == NATS_OK);
  CHECK(natsConnection_RequestString(&answer, connection, "$SYS.REQ.SERVER.PING.JSZ", "", 5000) == NATS_OK);
  natsMsg_Destroy(answer);
  natsConnection_Destroy(connection);
  natsOptions_Destroy(options);
}

TEST_CASE("nobody gets in without a login") {
  const auto server = server_with(accounts_with_passwords());
  natsConnection* connection = nullptr;
  CHECK(natsConnection_ConnectTo(&connection, server.url().c_str()) != NATS_OK);
  natsConnection_Destroy(connection);
}
