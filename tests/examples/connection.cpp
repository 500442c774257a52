#include <tidings/connection.hpp>

bool reachable(const std::stop_token& stop) {
  tidings::Connection connection{tidings::ConnectionOptions::from_environment(), stop};  // waits for a server
  const auto observation = connection.observe([](bool connected) { (void)connected; });  // until it ends
  return connection.flush(std::chrono::seconds{1});
}
