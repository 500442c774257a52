// Health and metrics as their clients meet them, friendly and hostile.

#include "support/catch.hpp"
#include "support/file_descriptor.hpp"
#include "support/loopback.hpp"
#include "support/wait.hpp"

#include <tidings/monitor_server.hpp>

#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

class Served {
 public:
  explicit Served(std::string token = {}) {
    server_.emplace(HttpOptions{.listen = "127.0.0.1:0", .token = std::move(token)});
    server_->add([this](const HealthLimits&) {
      return MonitorReport{.name = "consumer g",
                           .stalled = stalled ? "it hangs" : "",
                           .not_ready = ready ? "" : "waiting: NATS: not connected",
                           .status = {{"handled", 7}}};
    });
    port = server_->start();
  }

  [[nodiscard]] httplib::Result get(const std::string& path, const httplib::Headers& headers = {}) const {
    httplib::Client client{"127.0.0.1", port};
    client.set_read_timeout(std::chrono::seconds{20});
    return client.Get(path, headers);
  }
  void stop() { server_.reset(); }

  std::atomic<bool> stalled{false}, ready{true};
  int port = 0;

 private:
  std::optional<MonitorServer> server_;
};

FileDescriptor connect_and_send(int port, const std::string& text) {
  auto socket = start_connecting(port);
  pollfd waited{.fd = socket.get(), .events = POLLOUT, .revents = 0};
  REQUIRE(::poll(&waited, 1, 10000) == 1);
  if (!text.empty()) (void)::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return socket;
}

/// By the server; what it has sent before is not looked at.
bool is_closed(const FileDescriptor& socket) {
  std::array<char, 4096> buffer{};
  const auto count = ::recv(socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  return count == 0 || (count < 0 && errno != EAGAIN);
}

}  // namespace

TEST_CASE("health says what is wrong") {
  Served served;
  CHECK(served.get("/livez")->status == 200);
  CHECK(served.get("/readyz")->status == 200);
  served.ready = false;
  CHECK(served.get("/livez")->status == 200);
  const auto ready = served.get("/readyz");
  CHECK(ready->status == 503);
  CHECK_THAT(ready->body, ContainsSubstring("waiting: NATS: not connected"));
  served.stalled = true;
  CHECK(served.get("/livez")->status == 503);
  CHECK_THAT(served.get("/metrics")->body, ContainsSubstring("tidings_alive{name=\"consumer g\"} 0\n"));
  CHECK_THAT(served.get("/api/status")->body, ContainsSubstring("\"stalled\":\"it hangs\""));
}

TEST_CASE("with a token, nothing is told without it") {
  const Served served{"a-secret"};
  for (const auto* const path : {"/livez", "/readyz", "/metrics", "/api/status"}) {
    CAPTURE(path);
    CHECK(served.get(path)->status == 401);
    CHECK(served.get(path, {{"Authorization", "Bearer a-secreT"}})->status == 401);
    CHECK(served.get(path, {{"Authorization", "Bearer a-secret2"}})->status == 401);
    CHECK(served.get(path, {{"Authorization", "a-secret"}})->status == 401);
    CHECK(served.get(path, {{"Authorization", "Bearer a-secret"}})->status == 200);
  }
}

TEST_CASE("what is no question about health is refused") {
  const Served served;
  for (const auto* const path :
       {"/", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/metrics/", "/api/../livez/x"}) {
    CAPTURE(path);
    CHECK(served.get(path)->status == 404);
  }
  httplib::Client client{"127.0.0.1", served.port};
  CHECK(client.Delete("/metrics")->status == 405);
}

TEST_CASE("requests of any size are given up, and others are served") {
  const Served served;
  const auto huge =
      GENERATE(as<std::string>{}, "GET /livez HTTP/1.1\r\nX: " + std::string(100000, 'x'),
               "POST /livez HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n" + std::string(100000, 'x'),
               "GET /" + std::string(100000, 'x'));
  const auto hostile = connect_and_send(served.port, huge);
  CHECK(served.get("/livez")->status == 200);
}

TEST_CASE("200 connections that say nothing keep nobody waiting, nor a stop") {
  Served served;
  std::vector<FileDescriptor> idle;
  const auto begin = GENERATE(as<std::string>{}, "", "GET /livez HTTP/1.1\r\nX: ");
  for (int i = 0; i < 200; ++i) idle.push_back(connect_and_send(served.port, begin));
  const auto asked = std::chrono::steady_clock::now();
  CHECK(served.get("/livez")->status == 200);
  CHECK(std::chrono::steady_clock::now() - asked < std::chrono::seconds{3});
  const auto stopped = std::chrono::steady_clock::now();
  served.stop();
  CHECK(std::chrono::steady_clock::now() - stopped < std::chrono::seconds{2});
}

TEST_CASE("clients that send a byte now and then keep nobody waiting, nor a stop, and are given up") {
  Served served;
  std::vector<FileDescriptor> slow;
  for (int i = 0; i < 20; ++i) slow.push_back(connect_and_send(served.port, "GET /livez HTTP/1.1\r\nX: "));
  const std::jthread dripping{[&slow](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      for (const auto& socket : slow) (void)::send(socket.get(), "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      ::poll(nullptr, 0, 100);  // their load
    }
  }};
  const auto asked = std::chrono::steady_clock::now();
  CHECK(served.get("/livez")->status == 200);
  CHECK(std::chrono::steady_clock::now() - asked < std::chrono::seconds{3});
  // The last to come is not given up for others, only when its time is over.
  REQUIRE_WITHIN(15s, is_closed(slow.back()));
  const auto late = connect_and_send(served.port, "GET /livez HTTP/1.1\r\nX: ");
  const auto stopped = std::chrono::steady_clock::now();
  served.stop();
  CHECK(std::chrono::steady_clock::now() - stopped < std::chrono::seconds{2});
}
