#pragma once

// cpp-httplib with an end to each request. The library's timeouts are for single reads: a client that sends a
// byte now and then would keep its thread for ever.

#include <httplib.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <mutex>
#include <set>

namespace tidings {

struct RequestLimits {
  std::chrono::milliseconds deadline{
      5000};                     ///< for sending a request, headers and body, and as long for its answer
  std::size_t bytes = 32768;     ///< of a request, headers and body
  std::size_t connections = 64;  ///< at once, each with a thread
};

/// Serves one request a connection. When there are more connections than it takes, the oldest one that has
/// not sent its request is given up for the newest: clients that are slow or idle keep nobody else waiting.
class DeadlineServer : public httplib::Server {
 public:
  explicit DeadlineServer(const RequestLimits& limits);

  // Thread-safe.

  /// From now on nothing is waited for that a client has not sent yet. Requests that are complete are
  /// answered.
  void stop_reading();
  /// The same, and nothing is answered any more.
  void hang_up();

 private:
  class Connections;

  bool process_and_close_socket(socket_t socket) override;
  void end(int how);
  void expect_connection();
  void give_up_oldest();

  const RequestLimits limits_;
  std::mutex mutex_;
  std::set<socket_t> open_;      // under mutex
  std::deque<socket_t> oldest_;  // under mutex: those of open_ that were not given up, in their order
  int ended_ = -1;               // under mutex: what shutdown() is told for each, -1 for nothing
  std::size_t expected_ = 0;     // under mutex: connections, with those that have no thread yet
};

}  // namespace tidings
