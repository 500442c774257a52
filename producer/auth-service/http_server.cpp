#include "http_server.hpp"

#include <tidings/error.hpp>

#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace tidings {
namespace {

constexpr int request_threads = 16;
constexpr int waiting_connections = 512;

}  // namespace

Address Address::parse(const std::string& text) {
  const auto colon = text.rfind(':');
  Address address;
  if (colon != std::string::npos) {
    address.host = text.substr(0, colon);
    if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
      address.host = address.host.substr(1, address.host.size() - 2);
    const auto [end, error] =
        std::from_chars(text.data() + colon + 1, text.data() + text.size(), address.port);
    const bool number = error == std::errc{} && end == text.data() + text.size();
    if (!address.host.empty() && number && address.port >= 0 && address.port <= 65535) return address;
  }
  throw SettingError("--http=" + text + ": takes HOST:PORT with a port from 0 (any free one) to 65535");
}

std::string to_string(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? '[' + address.host + ']' : address.host) + ':' + std::to_string(address.port);
}

HttpServer::HttpServer(UserApi& api) {
  server_.new_task_queue = [] { return new httplib::ThreadPool(request_threads); };
  // One request a connection: an idle one would keep a thread from others, and what is left
  // of a refused body could be read as a next request.
  server_.set_keep_alive_max_count(1);
  server_.set_tcp_nodelay(true);
  // The library's default is SO_REUSEPORT, with which a second server on a busy port starts
  // and takes half of the requests.
  server_.set_socket_options([this](auto socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    socket_ = static_cast<int>(socket);
  });
  api.serve_on(server_);
}

int HttpServer::bind(const Address& address) {
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

void HttpServer::run(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  bool ended = false;
  bool orderly = false;
  std::thread listener{[&] {
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
  listener.join();
  if (!orderly && !stop.stop_requested()) throw Error("the HTTP server ended: out of file descriptors?");
}

}  // namespace tidings
