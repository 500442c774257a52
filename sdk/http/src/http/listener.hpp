#pragma once

// An address, and a server that listens there until it is stopped.

#include "http/deadline_server.hpp"

#include <stop_token>
#include <string>

namespace tidings {

struct Address {
  std::string host;
  int port = 0;  ///< 0: any that is free

  /// `HOST:PORT` or `[V6]:PORT`. Throws SettingError.
  [[nodiscard]] static Address parse(const std::string& text);

  /// Only this machine can reach it.
  [[nodiscard]] bool is_loopback() const;
};

[[nodiscard]] std::string to_string(const Address& address);

/// Listens with `server`, whose routes its owner adds.
class Listener {
 public:
  explicit Listener(DeadlineServer& server);

  /// Returns the port. Throws Error when it cannot listen there.
  int bind(const Address& address);

  enum class AtStop {
    answer,  ///< requests that are there whole
    hang_up
  };
  /// Serves until `stop`. Throws Error when it ends by itself.
  void run(const std::stop_token& stop, AtStop at_stop);

 private:
  DeadlineServer& server_;
  int socket_ = -1;
};

}  // namespace tidings
