#include "http/deadline_server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>

namespace tidings {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

class DeadlineStream : public httplib::Stream {
 public:
  DeadlineStream(socket_t socket, const RequestLimits& limits)
      : socket_(socket), limits_(limits), deadline_(Clock::now() + limits.deadline) {}

  [[nodiscard]] bool is_readable() const override { return is_ready(POLLIN); }
  [[nodiscard]] bool is_writable() const override { return is_ready(POLLOUT); }
  [[nodiscard]] socket_t socket() const override { return socket_; }

  /// The library reads headers byte by byte.
  ssize_t read(char* data, std::size_t size) override {
    if (begin_ == end_) {
      if (received_ >= limits_.bytes || !is_readable()) return -1;
      const auto received = ::recv(socket_, buffer_.data(), buffer_.size(), 0);
      if (received <= 0) return received;
      received_ += static_cast<std::size_t>(received);
      begin_ = 0;
      end_ = static_cast<std::size_t>(received);
    }
    const auto count = std::min(size, end_ - begin_);
    std::copy_n(buffer_.data() + begin_, count, data);
    begin_ += count;
    return static_cast<ssize_t>(count);
  }

  ssize_t write(const char* data, std::size_t size) override {
    if (!std::exchange(answering_, true)) deadline_ = Clock::now() + limits_.deadline;
    for (std::size_t written = 0; written < size;) {
      if (!is_writable()) return -1;
      const auto count = ::send(socket_, data + written, size - written, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0 && errno != EAGAIN && errno != EINTR) return -1;
      written += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    }
    return static_cast<ssize_t>(size);
  }

  // Nothing here asks who the client is.
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}

 private:
  /// False at the deadline.
  [[nodiscard]] bool is_ready(short event) const {
    pollfd waited{.fd = socket_, .events = event, .revents = 0};
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(deadline_ - Clock::now());
      if (left <= milliseconds{0}) return false;
      const int count = ::poll(&waited, 1, static_cast<int>(left.count()));
      if (count >= 0 || errno != EINTR) return count > 0;
    }
  }

  const socket_t socket_;
  const RequestLimits& limits_;
  Clock::time_point deadline_;
  bool answering_ = false;
  std::array<char, 4096> buffer_{};
  std::size_t received_ = 0;
  std::size_t begin_ = 0, end_ = 0;  // of what is in the buffer and was not read yet
};

}  // namespace

/// The library's threads. It tells of each connection, so that none waits for a thread behind idle ones.
class DeadlineServer::Connections : public httplib::TaskQueue {
 public:
  explicit Connections(DeadlineServer& server) : server_(server), threads_(server.limits_.connections) {}

  using Enqueued = decltype(std::declval<httplib::TaskQueue&>().enqueue({}));  // bool in newer releases
  Enqueued enqueue(std::function<void()> work) override {
    server_.expect_connection();
    return threads_.enqueue(std::move(work));
  }
  void shutdown() override { threads_.shutdown(); }

 private:
  DeadlineServer& server_;
  httplib::ThreadPool threads_;
};

DeadlineServer::DeadlineServer(const RequestLimits& limits) : limits_(limits) {
  new_task_queue = [this] { return new Connections(*this); };
  // One request a connection: an idle one would keep a thread from others, and what is left
  // of a refused body could be read as a next request.
  set_keep_alive_max_count(1);
  set_tcp_nodelay(true);
}

void DeadlineServer::expect_connection() {
  const std::lock_guard lock{mutex_};
  ++expected_;
  give_up_oldest();
}

/// As many as there are without a thread, for each of which one ends.
void DeadlineServer::give_up_oldest() {
  while (!oldest_.empty() && expected_ > limits_.connections + (open_.size() - oldest_.size())) {
    ::shutdown(oldest_.front(), SHUT_RD);  // a request that is there whole is answered all the same
    oldest_.pop_front();
  }
}

void DeadlineServer::stop_reading() { end(SHUT_RD); }
void DeadlineServer::hang_up() { end(SHUT_RDWR); }

void DeadlineServer::end(int how) {
  const std::lock_guard lock{mutex_};
  ended_ = how;
  // After SHUT_RD what has come can still be read; after it, the end of the request seems to be there.
  for (const auto socket : open_) ::shutdown(socket, how);
}

bool DeadlineServer::process_and_close_socket(socket_t socket) {
  {
    const std::lock_guard lock{mutex_};
    open_.insert(socket);
    oldest_.push_back(socket);
    if (ended_ >= 0) ::shutdown(socket, ended_);
    give_up_oldest();
  }
  // Newer releases want both addresses as well.
  const auto process = [](auto& server, httplib::Stream& stream) {
    bool closed = true;
    if constexpr (requires { server.process_request(stream, true, closed, nullptr); })
      return server.process_request(stream, true, closed, nullptr);
    else
      return server.process_request(stream, {}, 0, {}, 0, true, closed, nullptr);
  };
  DeadlineStream stream{socket, limits_};
  const bool processed = process(*this, stream);
  {
    const std::lock_guard lock{mutex_};
    open_.erase(socket);  // before the number can be that of another connection
    std::erase(oldest_, socket);
    --expected_;
  }
  ::shutdown(socket, SHUT_RDWR);
  ::close(socket);
  return processed;
}

}  // namespace tidings
