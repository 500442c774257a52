#pragma once

// The library's server with what a service on a machine's open network needs.

#include "user_api.hpp"

#include <httplib.h>

#include <stop_token>
#include <string>

namespace tidings {

struct Address {
  std::string host;
  int port = 0;  ///< 0: any that is free

  /// `HOST:PORT` or `[V6]:PORT`. Throws SettingError.
  [[nodiscard]] static Address parse(const std::string& text);
};

[[nodiscard]] std::string to_string(const Address& address);

class HttpServer {
 public:
  explicit HttpServer(UserApi& api);

  /// Returns the port. Throws Error when the address cannot be had.
  int bind(const Address& address);

  /// Serves until `stop`, then finishes the requests that are there. Throws Error when it ends by itself.
  void run(const std::stop_token& stop);

 private:
  httplib::Server server_;
  int socket_ = -1;
};

}  // namespace tidings
