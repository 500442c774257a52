#include "http/listener.hpp"

#include <tidings/error.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace tidings {

Address Address::parse(const std::string& text) {
  const auto colon = text.rfind(':');
  Address address{.host = text.substr(0, colon)};
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  const auto digits = colon == std::string::npos ? "" : text.substr(colon + 1);
  const auto* const all = digits.data() + digits.size();
  const auto [end, error] = std::from_chars(digits.data(), all, address.port);
  if (address.host.empty() || error != std::errc{} || end != all || address.port < 0 || address.port > 65535)
    throw SettingError("--http=" + text + ": takes HOST:PORT with a port from 0 (any free one) to 65535");
  return address;
}

bool Address::is_loopback() const {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24U == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
  return host == "localhost";
}

std::string to_string(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? '[' + address.host + ']' : address.host) + ':' + std::to_string(address.port);
}

Listener::Listener(DeadlineServer& server) : server_(server) {
  // The library sets SO_REUSEPORT: a second server on a busy port would start and take half of the requests.
  server_.set_socket_options([this](auto socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    socket_ = static_cast<int>(socket);
  });
}

int Listener::bind(const Address& address) {
  constexpr int waiting_connections = 512;
  errno = 0;
  const int port = address.port == 0                                  ? server_.bind_to_any_port(address.host)
                   : server_.bind_to_port(address.host, address.port) ? address.port
                                                                      : -1;
  if (port <= 0) {
    const auto why = errno == 0 ? "no such host" : std::generic_category().message(errno);
    throw Error("cannot listen on " + to_string(address) + " (" + why + "): choose another with --http");
  }
  // The library's queue of 5 would make a burst of clients wait for a resent SYN.
  listen(socket_, waiting_connections);
  return port;
}

void Listener::run(const std::stop_token& stop, AtStop at_stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  bool ended = false, orderly = false;
  std::thread listening{[&] {
    orderly = server_.listen_after_bind();
    const std::lock_guard lock{mutex};
    ended = true;
    wake.notify_all();
  }};
  {
    // The library forgets a stop() that comes before it runs.
    std::unique_lock lock{mutex};
    while (!server_.is_running() && !ended) wake.wait_for(lock, std::chrono::milliseconds{1});
    wake.wait(lock, stop, [&] { return ended; });
  }
  server_.stop();
  at_stop == AtStop::answer ? server_.stop_reading() : server_.hang_up();
  listening.join();
  if (!orderly && !stop.stop_requested()) throw Error("the HTTP server ended: out of file descriptors?");
}

}  // namespace tidings
