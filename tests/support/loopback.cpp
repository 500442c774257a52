#include "support/loopback.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

namespace tidings::test {
namespace {

sockaddr_in endpoint(int port, const std::string& host = "127.0.0.1") {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<in_port_t>(port));
  address.sin_addr.s_addr = ::inet_addr(host.c_str());
  return address;
}

void set_option(const FileDescriptor& socket, int level, int option) {
  const int on = 1;
  if (::setsockopt(socket.get(), level, option, &on, sizeof on) != 0)
    throw std::system_error(errno, std::generic_category(), "set a socket option");
}

FileDescriptor make_socket() {
  return {::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "make a socket"};
}

}  // namespace

// SO_REUSEADDR is what lets a server listen on a port that is bound here: Linux refuses only when
// both would listen. Ports given out automatically are never shared.
ReservedPort::ReservedPort() : socket_(bind_loopback(0, 0)), number_(port_of(socket_)) {}

FileDescriptor bind_loopback(int port, int backlog) {
  auto socket = make_socket();
  set_option(socket, SOL_SOCKET, SO_REUSEADDR);
  const auto address = endpoint(port);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::system_error(errno, std::generic_category(), "bind port " + std::to_string(port));
  if (backlog > 0 && ::listen(socket.get(), backlog) != 0)
    throw std::system_error(errno, std::generic_category(), "listen on port " + std::to_string(port));
  return socket;
}

int port_of(const FileDescriptor& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::system_error(errno, std::generic_category(), "ask for a socket's port");
  return ntohs(address.sin_port);
}

FileDescriptor start_connecting(int port, const std::string& host) {
  auto socket = make_socket();
  set_option(socket, IPPROTO_TCP, TCP_NODELAY);
  const auto address = endpoint(port, host);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS)
    throw std::system_error(errno, std::generic_category(), "connect to port " + std::to_string(port));
  return socket;
}

std::string greeting(int port, const std::string& host) try {
  const auto socket = start_connecting(port, host);
  pollfd readable{socket.get(), POLLIN, 0};
  if (::poll(&readable, 1, 1000) != 1) return {};
  std::array<char, 4096> buffer{};
  const auto size = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
  return {buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0};
} catch (const std::system_error&) {
  return {};
}

}  // namespace tidings::test
