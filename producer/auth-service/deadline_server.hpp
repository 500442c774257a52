#pragma once

// cpp-httplib's server with what that has no option for: its timeouts begin anew with each byte, so that a
// client which drips its request keeps a thread, and a stop waits for such clients.

#include <httplib.h>

#include <chrono>
#include <mutex>
#include <set>

namespace tidings {

/// Serves one request a connection. A client has as long as `deadline` to send it, headers and body, and as
/// long to take the answer.
class DeadlineServer : public httplib::Server {
 public:
  explicit DeadlineServer(std::chrono::milliseconds deadline) : deadline_(deadline) {}

  /// From now on nothing is waited for that a client has not sent yet. Requests that are complete are
  /// answered. Thread-safe.
  void stop_reading();

 private:
  bool process_and_close_socket(socket_t socket) override;

  const std::chrono::milliseconds deadline_;
  std::mutex mutex_;
  std::set<socket_t> open_;  // under mutex
  bool reading_ = true;      // under mutex
};

}  // namespace tidings
