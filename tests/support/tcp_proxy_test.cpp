#include "support/tcp_proxy.hpp"

#include "support/jetstream.hpp"
#include "support/loopback.hpp"
#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>

using namespace tidings::test;

namespace {

/// Waits up to 10 s for something to read; -1 with errno when the connection was reset.
ssize_t receive(const FileDescriptor& socket, std::string& bytes) {
  pollfd readable{socket.get(), POLLIN, 0};
  ::poll(&readable, 1, 10000);
  std::array<char, 4096> buffer{};
  const auto size = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
  if (size > 0) bytes.append(buffer.data(), static_cast<std::size_t>(size));
  return size;
}

void send(const FileDescriptor& socket, const std::string& bytes) {
  pollfd writable{socket.get(), POLLOUT, 0};
  REQUIRE(::poll(&writable, 1, 10000) == 1);
  REQUIRE(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
}

/// A client and a server with the proxy between them.
struct Fixture {
  FileDescriptor listener = bind_loopback(0, 8);
  TcpProxy proxy{port_of(listener)};

  FileDescriptor connect() const { return start_connecting(proxy.port()); }
  FileDescriptor accept() const {
    pollfd readable{listener.get(), POLLIN, 0};
    ::poll(&readable, 1, 10000);
    return {::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK), "accept"};
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "a proxy carries bytes both ways and an end of either side") {
  auto client = connect();
  const auto server = accept();
  CHECK(proxy.connections() == 1);
  std::string there, back;
  send(client, "hello");
  REQUIRE(receive(server, there) == 5);
  send(server, "world!");
  REQUIRE(receive(client, back) == 6);
  CHECK(there + back == "helloworld!");
  CHECK(proxy.bytes_to_server() == 5);

  client.reset();
  CHECK(receive(server, there) == 0);
  REQUIRE_WITHIN(10s, proxy.connections() == 0);
  CHECK(proxy.accepted() == 1);
  CHECK(proxy.cuts() == 0);
}

TEST_CASE_METHOD(Fixture, "cut resets every connection, and new ones work") {
  const auto client = connect();
  const auto server = accept();
  REQUIRE_WITHIN(10s, proxy.connections() == 1);
  proxy.cut();
  CHECK(proxy.connections() == 0);
  CHECK(proxy.cuts() == 1);
  std::string bytes;
  CHECK(receive(client, bytes) == -1);
  CHECK(errno == ECONNRESET);
  CHECK(receive(server, bytes) <= 0);

  const auto again = connect();
  const auto server_again = accept();
  send(again, "x");
  CHECK(receive(server_again, bytes) == 1);
}

TEST_CASE_METHOD(Fixture, "refuse resets new connections and leaves old ones") {
  const auto old = connect();
  const auto server = accept();
  proxy.refuse(true);
  std::string bytes;
  CHECK(receive(connect(), bytes) == -1);
  CHECK(errno == ECONNRESET);
  send(old, "x");
  CHECK(receive(server, bytes) == 1);
  CHECK(proxy.accepted() == 1);
  proxy.refuse(false);
  send(connect(), "x");
  REQUIRE_WITHIN(10s, proxy.accepted() == 2);
}

TEST_CASE_METHOD(Fixture, "a cut after n bytes lets exactly n bytes reach the server") {
  const auto client = connect();
  const auto server = accept();
  proxy.cut_after_bytes_to_server(3);
  send(client, "hello");
  REQUIRE_WITHIN(10s, proxy.cuts() == 1);
  std::string bytes;
  while (receive(server, bytes) > 0) {
  }
  CHECK(bytes == "hel");
  CHECK(receive(client, bytes) == -1);

  const auto again = connect();  // it cuts once
  const auto server_again = accept();
  send(again, "hello");
  bytes.clear();
  REQUIRE(receive(server_again, bytes) == 5);
  CHECK(proxy.cuts() == 1);
}

TEST_CASE_METHOD(Fixture, "delayed bytes arrive late, complete and in order") {
  proxy.delay(60ms);
  const auto client = connect();
  const auto server = accept();
  const auto start = std::chrono::steady_clock::now();
  send(client, "one");
  send(client, "two");
  std::string bytes;
  while (bytes.size() < 6) REQUIRE(receive(server, bytes) > 0);
  CHECK(bytes == "onetwo");
  CHECK(std::chrono::steady_clock::now() - start >= 60ms);
}

TEST_CASE("a proxy whose target is away resets its clients") {
  const ReservedPort nothing_here;
  const TcpProxy proxy{nothing_here.number()};
  std::string bytes;
  CHECK(receive(start_connecting(proxy.port()), bytes) <= 0);
  REQUIRE_WITHIN(10s, proxy.connections() == 0);
}

TEST_CASE("requests whose answers are swallowed were carried out nevertheless") {
  const NatsServer server;
  JetStream direct{server.url()};
  direct.add_stream("ORDERS", {"orders.>"});
  TcpProxy proxy{server.port()};
  JetStream hurried{proxy.url(), 100ms};

  proxy.swallow_from_server(true);
  CHECK_THROWS_AS(hurried.publish("orders.made", "1"), std::runtime_error);
  REQUIRE_WITHIN(10s, direct.message_count("ORDERS") == 1);

  proxy.swallow_from_server(false);
  proxy.cut();
  CHECK(JetStream{proxy.url()}.publish("orders.made", "2").seq == 2);
}

TEST_CASE_METHOD(Fixture, "answers are let through up to the byte that was asked for, then swallowed") {
  auto client = connect();
  const auto server = accept();
  proxy.swallow_after_bytes_from_server(7);
  std::string there, back;
  send(server, "first");
  REQUIRE(receive(client, back) == 5);
  send(server, "second");
  REQUIRE(receive(client, back) == 2);
  send(server, "third");
  send(client, "still there?");  // what the proxy carries after it has met "third"
  REQUIRE(receive(server, there) == 12);
  CHECK(proxy.bytes_from_server() == 7);
  CHECK(back == "firstse");

  proxy.swallow_from_server(false);
  send(server, "fourth");
  REQUIRE(receive(client, back) == 6);
  CHECK(back == "firstsefourth");
}
