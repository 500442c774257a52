#include <tidings/connection.hpp>

bool reachable(const std::stop_token& stop) {
  tidings::Connection connection{tidings::ConnectionOptions::from_environment(), stop};  // waits for a server
  return connection.flush(std::chrono::seconds{1});
}
