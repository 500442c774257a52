#include "nats/handle.hpp"
#include "nats/nkey.hpp"
#include "support/catch.hpp"
#include "support/connecting.hpp"
#include "support/environment.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/tcp_proxy.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <nats/nats.h>

#include <array>
#include <atomic>
#include <fstream>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

namespace {

// The pair from the documentation of NATS: known to all, so it guards nothing.
const std::string seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const std::string public_key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

}  // namespace

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

TEST_CASE("a refused token is told at once, without the token") {
  auto server = server_with(R"(authorization { token: "right-token" })");
  auto options = options_of(server.url());
  options.token = "wrong-token";
  const auto error = error_of<NatsError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("refuses the login"));
  CHECK_THAT(error, ContainsSubstring("with token"));
  CHECK_THAT(error, !ContainsSubstring("wrong-token"));

  options.token = "right-token";
  CHECK(Connection{options}.connected());
}

TEST_CASE("a refused password is told at once, with the user and without the password") {
  auto server = server_with(R"(authorization { user: "bob", password: "right-word" })");
  auto options = options_of(server.url());
  options.user = "bob";
  options.password = "wrong-word";
  const auto error = error_of<NatsError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("user bob and password"));
  CHECK_THAT(error, !ContainsSubstring("wrong-word"));

  options.password = "right-word";
  CHECK(Connection{options}.connected());
}

TEST_CASE("a login in the URL that is refused does not show") {
  auto server = server_with(R"(authorization { user: "bob", password: "right-word" })");
  const auto host = "127.0.0.1:" + std::to_string(server.port());
  const auto error = error_of<NatsError>([&] {
    Connection connection{options_of("nats://bob:wrong-word@" + host), std::stop_token{}};
  });
  CHECK_THAT(error, ContainsSubstring(host));
  CHECK_THAT(error, !ContainsSubstring("wrong-word"));
  CHECK(Connection{options_of("nats://bob:right-word@" + host)}.connected());
}

TEST_CASE("a login in the URL may be percent-encoded, a token as well") {
  struct Case {
    std::string authorization, login;
  };
  const auto is = GENERATE(values<Case>({
      {R"(user: "bob@shop", password: "p:a/ss@wo%rd")", "bob%40shop:p%3Aa%2Fss%40wo%25rd@"},
      {R"(user: "bob", password: "50%off")", "bob:50%off@"},  // taken as it is
      {R"(token: "a/b+c=")", "a%2Fb+c%3d@"},
  }));
  auto server = server_with("authorization { " + is.authorization + " }");
  const auto host = "127.0.0.1:" + std::to_string(server.port());
  CHECK(Connection{options_of("nats://" + is.login + host)}.connected());
  auto several = options_of("nats://" + is.login + host);
  several.urls.push_back("nats://" + is.login + "127.0.0.1:1");
  CHECK(Connection{several}.connected());
  const auto error =
      error_of<NatsError>([&] { Connection connection{options_of("nats://%62ob:w%40rong@" + host)}; });
  CHECK_THAT(error, ContainsSubstring("user bob and password"));
  CHECK_THAT(error, !ContainsSubstring("rong"));
}

TEST_CASE("different logins of servers are an error when one is percent-encoded, without the secrets") {
  auto options = options_of("nats://bob:on%65@127.0.0.1:1");
  options.urls.push_back("nats://bob:two@127.0.0.1:2");
  const auto error = error_of<SettingError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("NATS_URL"));
  CHECK_THAT(error, !ContainsSubstring("on%65") && !ContainsSubstring("two"));
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

TEST_CASE("an nkey logs in with the seed file alone") {
  const TempDir folder;
  const auto file = (folder / "user.nk").string();
  std::ofstream{file} << seed << '\n';
  CHECK(nkey_public(file) == public_key);

  auto server = server_with("authorization { users: [ { nkey: " + public_key + " } ] }");
  auto options = options_of(server.url());
  options.nkey_seed_file = file;
  CHECK(Connection{options}.connected());
}

TEST_CASE("no login in a thousand is refused for the signature that it happens to need") {
  const TempDir folder;
  const auto file = (folder / "user.nk").string();
  std::ofstream{file} << seed << '\n';
  auto server = server_with("authorization { users: [ { nkey: " + public_key + " } ] }");
  auto options = options_of(server.url());
  options.nkey_seed_file = file;
  for (int login = 0; login < 1000; ++login) REQUIRE_NOTHROW(Connection{options});
}

TEST_CASE("an nkey that the server does not know is refused, with the file's name and without the seed") {
  const TempDir folder;
  const auto file = (folder / "user.nk").string();
  std::ofstream{file} << seed << '\n';
  auto server = server_with(R"(authorization { token: "t" })");
  auto options = options_of(server.url());
  options.nkey_seed_file = file;
  const auto error = error_of<NatsError>([&] { Connection connection{options, std::stop_token{}}; });
  CHECK_THAT(error, ContainsSubstring("nkey seed file " + file));
  CHECK_THAT(error, !ContainsSubstring(seed));
}

TEST_CASE("a seed file that holds none is an error with its name") {
  const TempDir folder;
  const std::string text = GENERATE_REF(as<std::string>{}, "", "hello\n", public_key, seed.substr(1),
                                        "SU" + seed, "SU0018" + seed.substr(6));
  std::ofstream{folder / "user.nk"} << text;
  const auto file = (folder / "user.nk").string();
  CHECK_THAT(error_of<SettingError>([&] { (void)nkey_public(file); }),
             ContainsSubstring("NATS_NKEY=" + file));
  CHECK_THROWS_AS((void)nkey_public((folder / "missing.nk").string()), SettingError);
}

TEST_CASE("a seed is found among other lines, whatever their ends") {
  const TempDir folder;
  std::ofstream{folder / "user.nk"} << "-----BEGIN USER NKEY SEED-----\r\n"
                                    << seed << "\r\n------END-----\r\n";
  CHECK(nkey_public((folder / "user.nk").string()) == public_key);
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

TEST_CASE("each cut is a new generation, and the observer is told of both changes") {
  NatsServer server;
  TcpProxy proxy{server.port()};
  Connection connection{options_of(proxy.url())};
  std::atomic<int> gone{0}, back{0};
  auto observation = connection.observe([&](bool connected) { ++(connected ? back : gone); });
  for (int cut = 1; cut <= 3; ++cut) {
    proxy.cut();
    REQUIRE_WITHIN(10s, back == cut);
    CHECK(gone == cut);
    CHECK(connection.generation() == static_cast<std::uint64_t>(cut));
    CHECK(connection.connected());
  }
  observation.reset();
  proxy.cut();
  REQUIRE_WITHIN(10s, connection.generation() == 4 && connection.connected());
  CHECK(gone == 3);
  CHECK(back == 3);
}

TEST_CASE("each observer is told, and those that come and go are told of nothing after their end") {
  NatsServer server;
  TcpProxy proxy{server.port()};
  std::optional<Connection> connection{options_of(proxy.url())};
  std::atomic<int> changes{0}, late{0};
  const auto one = connection->observe([&](bool) { ++changes; });
  auto other = connection->observe([&](bool) { ++changes; });
  {
    std::vector<std::jthread> passers_by;
    for (int i = 0; i < 4; ++i)
      passers_by.emplace_back([&](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          std::atomic<bool> ended{false};
          auto observation = connection->observe([&](bool) { late += ended ? 1 : 0; });
          observation.reset();
          ended = true;
        }
      });
    for (std::uint64_t cut = 1; cut <= 10; ++cut) {
      proxy.cut();
      REQUIRE_WITHIN(10s, connection->generation() == cut && connection->connected());
    }
  }
  REQUIRE_WITHIN(10s, changes == 40);
  CHECK(late == 0);
  connection.reset();  // before its observations
  CHECK(changes == 40);
  other.reset();
}

TEST_CASE("a connection comes back within a second of its server, however long that was away") {
  NatsServer server;
  Connection connection{options_of(server.url())};
  server.kill();
  REQUIRE_WITHIN(10s, !connection.connected());
  CHECK_FALSE(connection.flush(100ms));
  // Long enough for the delay between tries to have grown to its most.
  const auto killed = steady_clock::now();
  REQUIRE_WITHIN(10s, steady_clock::now() > killed + 1500ms);
  CHECK_NOTHROW(connection.require_open());
  server.start();
  const auto started = steady_clock::now();
  REQUIRE_WITHIN(10s, connection.connected());
  CHECK(steady_clock::now() - started < 3s);
  CHECK(connection.generation() == 1);
}

TEST_CASE("a server that stands still is left for another") {
  std::array<NatsServer, 2> servers;
  auto options = options_of(servers[0].url());
  options.urls.push_back(servers[1].url());
  Connection connection{options};
  const bool at_first = url_in_use(connection).ends_with(std::to_string(servers[0].port()));
  servers.at(at_first ? 0 : 1).pause();
  const auto other = std::to_string(servers.at(at_first ? 1 : 0).port());
  REQUIRE_WITHIN(25s, connection.connected() && url_in_use(connection).ends_with(other));
  CHECK(connection.generation() == 1);
}

TEST_CASE("a server that refuses the login it took before closes the connection for good, and says so") {
  const TempDir folder;
  const auto let_in = [&](const std::string& token) {
    std::ofstream{folder / "login.conf"} << "token: \"" << token << "\"\n";
  };
  let_in("first-token");
  // The server reads it from beside its own temporary folder.
  auto server =
      server_with("authorization { include '../" + folder.path().filename().string() + "/login.conf' }");
  auto options = options_of(server.url());
  options.token = "first-token";
  Connection connection{options};
  CHECK_NOTHROW(connection.require_open());

  server.stop();
  let_in("second-token");
  server.start();
  std::string told;
  REQUIRE_WITHIN(20s, [&] {
    try {
      connection.require_open();
    } catch (const NatsError& error) {
      told = error.retryable() ? "retryable" : error.what();
    }
    return !told.empty();
  }());
  CHECK_THAT(told, ContainsSubstring("closed the connection for good"));
  CHECK_THAT(told, ContainsSubstring("with token"));
  CHECK_THAT(told, !ContainsSubstring("first-token"));
  CHECK_FALSE(connection.connected());
}

TEST_CASE("destroying a connection while its server is away does not hang") {
  NatsServer server;
  std::optional<Connection> connection{std::in_place, options_of(server.url())};
  server.kill();
  const auto begun = steady_clock::now();
  connection.reset();
  CHECK(steady_clock::now() - begun < 15s);
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
