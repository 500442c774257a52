#pragma once

// Sockets on 127.0.0.1, where the servers of the tests live, but for those on a network of their own.

#include "support/file_descriptor.hpp"

#include <string>

namespace tidings::test {

/// A free port that stays ours: bound, but not listening, so that only a server which is told this
/// port may listen on it. Otherwise another test could be given the port while its server is
/// stopped, or a client that tries to reconnect could be given it and reach itself.
class ReservedPort {
 public:
  ReservedPort();
  [[nodiscard]] int number() const noexcept { return number_; }

 private:
  FileDescriptor socket_;
  int number_ = 0;
};

/// Bound to `port` (0: any free one). Listens when `backlog` is above 0.
[[nodiscard]] FileDescriptor bind_loopback(int port, int backlog);
[[nodiscard]] int port_of(const FileDescriptor& socket);

/// Does not block: whether it succeeded is seen by writing to it.
[[nodiscard]] FileDescriptor start_connecting(int port, const std::string& host = "127.0.0.1");

/// Connects and returns the first bytes that the server sends of its own accord within a second
/// (NATS says INFO); empty when nothing listens or nothing comes.
[[nodiscard]] std::string greeting(int port, const std::string& host = "127.0.0.1");

}  // namespace tidings::test
