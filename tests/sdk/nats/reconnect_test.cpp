// Connections that are cut, and what comes back of them.

#include "support/catch.hpp"
#include "support/connecting.hpp"
#include "support/nats_server.hpp"
#include "support/tcp_proxy.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/connection.hpp>
#include <tidings/error.hpp>

#include <array>
#include <atomic>
#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;

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
