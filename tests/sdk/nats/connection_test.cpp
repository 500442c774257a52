#include "nats/handle.hpp"
#include "support/catch.hpp"
#include "support/connecting.hpp"
#include "support/environment.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <nats/nats.h>

#include <future>
#include <string>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

TEST_CASE("a connection says what it may send") {
  NatsServer server{
      {.config = "max_payload: 70000", .arguments = {}, .jetstream = true, .monitoring = false}};
  Connection connection{options_of("nats://bob:hidden@127.0.0.1:" + std::to_string(server.port()))};
  CHECK(connection.connected());
  CHECK(connection.generation() == 0);
  CHECK(connection.max_payload() == 70000);
  CHECK(connection.flush(5s));
  CHECK_NOTHROW(connection.require_open());
}

TEST_CASE("one try without a server is an error that may pass, with the address and without the secret") {
  const ReservedPort nobody;
  const auto url = "nats://bob:hidden@127.0.0.1:" + std::to_string(nobody.number());
  try {
    Connection connection{options_of(url)};
    FAIL("connected to nobody");
  } catch (const NatsError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring("nats://127.0.0.1:" + std::to_string(nobody.number())));
    CHECK_THAT(error.what(), !ContainsSubstring("hidden"));
  }
}

TEST_CASE("a broker that is away at the start is waited for") {
  NatsServer server;
  server.stop();
  auto waiting = std::async(std::launch::async, [url = server.url()] {
    Connection connection{options_of(url), std::stop_token{}};
    return connection.connected();
  });
  REQUIRE(waiting.wait_for(100ms) == std::future_status::timeout);
  server.start();
  REQUIRE(waiting.wait_for(10s) == std::future_status::ready);
  CHECK(waiting.get());
}

TEST_CASE("of several servers, one that answers is enough") {
  const ReservedPort nobody;
  NatsServer server;
  auto options = options_of("nats://127.0.0.1:" + std::to_string(nobody.number()));
  options.urls.push_back(server.url());
  Connection connection{options};
  CHECK_THAT(url_in_use(connection), ContainsSubstring(std::to_string(server.port())));
}

TEST_CASE("a stop request ends the wait for a broker") {
  const ReservedPort nobody;
  std::stop_source stop;
  auto waiting = std::async(std::launch::async, [&] {
    try {
      Connection connection{options_of("nats://127.0.0.1:" + std::to_string(nobody.number())),
                            stop.get_token()};
    } catch (const NatsError& error) {
      return error.retryable();
    }
    return false;
  });
  REQUIRE(waiting.wait_for(200ms) == std::future_status::timeout);
  const auto asked = steady_clock::now();
  stop.request_stop();
  CHECK(waiting.get());
  CHECK(steady_clock::now() - asked < 10s);
}

TEST_CASE("a URL of another kind is an error at once, in the environment and in code") {
  const auto* const url = GENERATE("ftp://x", "http://localhost:4222", "nats://", "nats://:4222",
                                   "nats://host:0", "nats://host:port", "nats://host:70000",
                                   "nats://bob:s3cret@", "nats:host", "ws://bob:s3cret@host", "ho st");
  INFO(url);
  const EnvironmentVariable set{"NATS_URL", url};
  for (const auto& error : {error_of<SettingError>([] { (void)ConnectionOptions::from_environment(); }),
                            error_of<SettingError>([&] {
                              Connection connection{options_of(url), std::stop_token{}};
                            })}) {
    CHECK_THAT(error, ContainsSubstring("NATS_URL=") && ContainsSubstring("takes nats://HOST:PORT"));
    CHECK_THAT(error, !ContainsSubstring("s3cret"));
  }
}

TEST_CASE("URLs as they are in use are taken") {
  const auto* const url =
      GENERATE("nats://one:4222, tls://two:4222", "localhost:4222", "localhost", "[::1]:4222",
               "nats://bob:pa/s:s@[fe80::1]:4222", "nats://token@host", "nats://host:4222/");
  INFO(url);
  const EnvironmentVariable set{"NATS_URL", url};
  CHECK_NOTHROW(ConnectionOptions::from_environment());
}

TEST_CASE("a JetStream domain or API prefix that cannot be is an error, in the environment and in code") {
  struct Case {
    std::string domain, prefix, told;
  };
  const auto [domain, prefix, told] = GENERATE(values<Case>({
      {"hub.eu", "", "NATS_JS_DOMAIN=hub.eu: takes the name"},
      {"*", "", "NATS_JS_DOMAIN=*: takes the name"},
      {"my hub", "", "NATS_JS_DOMAIN=my hub: takes the name"},
      {"", "JS.>", "NATS_JS_API_PREFIX=JS.>: takes a subject"},
      {"", "JS.*.API", "NATS_JS_API_PREFIX=JS.*.API: takes a subject"},
      {"", "JS.other.API.", "NATS_JS_API_PREFIX=JS.other.API.: takes a subject"},
      {"", "JS..API", "NATS_JS_API_PREFIX=JS..API: takes a subject"},
      {"hub", "JS.other.API", "NATS_JS_DOMAIN=hub and NATS_JS_API_PREFIX=JS.other.API exclude each other"},
  }));
  const EnvironmentVariable set_domain{"NATS_JS_DOMAIN", domain}, set_prefix{"NATS_JS_API_PREFIX", prefix};
  auto options = options_of("nats://127.0.0.1:1");
  options.jetstream_domain = domain;
  options.jetstream_api_prefix = prefix;
  CHECK_THAT(error_of<SettingError>([] { (void)ConnectionOptions::from_environment(); }),
             ContainsSubstring(told));
  CHECK_THAT(error_of<SettingError>([&] {
               Connection connection{options, std::stop_token{}};
             }),
             ContainsSubstring(told));
}

TEST_CASE("a JetStream domain is the prefix of its API") {
  NatsServer server;
  auto options = options_of(server.url());
  CHECK(jetstream_prefix(Connection{options}) == "$JS.API");
  options.jetstream_api_prefix = "JS.other.API";
  CHECK(jetstream_prefix(Connection{options}) == "JS.other.API");
  const EnvironmentVariable set{"NATS_JS_DOMAIN", "hub"};
  options = ConnectionOptions::from_environment();
  options.urls = {server.url()};
  CHECK(jetstream_prefix(Connection{options}) == "$JS.hub.API");
}

TEST_CASE("what the server refuses is told with the subject, instead of looking like no answer") {
  auto server = server_with(
      "authorization { users: [ { user: bob, password: hidden, permissions: "
      "{ publish: [\"allowed\"], subscribe: [\"_INBOX_bob.>\"] } } ] }");
  auto options = options_of("nats://bob:hidden@127.0.0.1:" + std::to_string(server.port()));
  options.inbox_prefix = "_INBOX_bob";
  Connection connection{options};
  natsSubscription* subscription = nullptr;
  REQUIRE(natsConnection_SubscribeSync(&subscription, native(connection), connection.new_inbox().c_str()) ==
          NATS_OK);
  natsConnection_PublishString(native(connection), "allowed", "x");
  REQUIRE(connection.flush(5s));
  CHECK(connection.refusal() == "");

  natsConnection_PublishString(native(connection), "forbidden", "x");
  REQUIRE_WITHIN(5s, connection.refusal() == R"(Permissions Violation for Publish to "forbidden")");
  natsSubscription* refused = nullptr;
  REQUIRE(natsConnection_SubscribeSync(&refused, native(connection), "_INBOX.other") == NATS_OK);
  REQUIRE_WITHIN(5s, connection.refusal() == R"(Permissions Violation for Subscription to "_INBOX.other")");
  CHECK(connection.connected());
  natsSubscription_Destroy(refused);
  natsSubscription_Destroy(subscription);
}

TEST_CASE("inboxes are below the prefix that is asked for, and no two are the same") {
  auto server = server_with("max_payload: 70000");
  auto options = options_of(server.url());
  options.inbox_prefix = "_INBOX_mailer.a";
  Connection connection{options};
  const auto one = connection.new_inbox();
  CHECK(one.starts_with("_INBOX_mailer.a."));
  CHECK(one.size() > std::string{"_INBOX_mailer.a."}.size() + 20);
  CHECK(one != connection.new_inbox());
}

TEST_CASE("an inbox prefix that is no plain subject is an error that names the setting") {
  for (const auto* prefix : {"_INBOX.", ".x", "a..b", "a.*", "a.>", "a b"}) {
    const EnvironmentVariable set{"NATS_INBOX_PREFIX", prefix};
    CHECK_THROWS_WITH(ConnectionOptions::from_environment(),
                      ContainsSubstring("NATS_INBOX_PREFIX=" + std::string{prefix}));
  }
  const EnvironmentVariable set{"NATS_INBOX_PREFIX", "_INBOX_relay"};
  CHECK(ConnectionOptions::from_environment().inbox_prefix == "_INBOX_relay");
}

TEST_CASE("what a connection keeps is destroyed after its close") {
  NatsServer server;
  bool destroyed = false;
  {
    Connection connection{options_of(server.url())};
    connection.keep(std::shared_ptr<void>(&destroyed, [](void* flag) { *static_cast<bool*>(flag) = true; }));
    CHECK_FALSE(destroyed);
  }
  CHECK(destroyed);
}
