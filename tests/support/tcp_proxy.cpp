#include "support/tcp_proxy.hpp"

#include "support/loopback.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace tidings::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t direction_capacity = 1 << 20;  // then the sender has to wait, as on a real network

void reset_connection(FileDescriptor& socket) {
  const linger now{1, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  socket.reset();
}

/// Nagle's algorithm would hold small requests back for 40 ms, which no one on the way may add.
void send_at_once(const FileDescriptor& socket) {
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

struct Chunk {
  Clock::time_point due;
  std::string bytes;
};

/// One direction of a connection.
struct Direction {
  std::deque<Chunk> chunks;
  std::size_t size = 0;
  bool ended = false;  // the sender has closed; what is queued still goes out

  [[nodiscard]] bool wants_input() const { return !ended && size < direction_capacity; }
  [[nodiscard]] bool due(Clock::time_point now) const { return !chunks.empty() && chunks.front().due <= now; }
  [[nodiscard]] bool drained() const { return ended && chunks.empty(); }
};

struct Link {
  FileDescriptor client, server;
  Direction up, down;
  bool broken = false;
};

}  // namespace

/// All but the task queue belongs to the one thread, so the verbs are tasks that it runs.
struct TcpProxy::State {
  explicit State(int target)
      : target_port(target),
        listener(bind_loopback(0, 64)),
        port(port_of(listener)),
        wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "make an eventfd"),
        thread([this](const std::stop_token& stop) { work(stop); }) {}

  ~State() {
    thread.request_stop();
    ::eventfd_write(wake.get(), 1);
  }

  template <class Verb>
  auto perform(Verb verb) {
    std::packaged_task<decltype(verb())()> task{std::move(verb)};
    auto result = task.get_future();
    {
      const std::lock_guard lock{mutex};
      tasks.emplace_back([&task] { task(); });
    }
    ::eventfd_write(wake.get(), 1);
    return result.get();
  }

  void work(const std::stop_token& stop);
  void wait_for_events();
  void run_tasks();
  void accept_clients();
  void serve(Link& link);
  void receive(Link& link, const FileDescriptor& from, Direction& direction);
  void send(Link& link, const FileDescriptor& to, Direction& direction);
  std::size_t allowance(const Link& link, const Direction& direction) const;
  void count_upstream(std::size_t size);
  std::size_t let_through(std::size_t size);
  void cut_all();

  const int target_port;
  FileDescriptor listener;
  const int port;
  FileDescriptor wake;
  std::list<Link> links;
  bool refusing = false, swallowing = false, cut_due = false;
  std::optional<std::uint64_t> upstream_budget, downstream_budget;
  std::chrono::milliseconds delay{0};
  std::uint64_t accepted = 0, cuts = 0, bytes_to_server = 0, bytes_from_server = 0;

  std::mutex mutex;
  std::vector<std::function<void()>> tasks;
  std::jthread thread;  // last: joined before anything it uses goes
};

void TcpProxy::State::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    wait_for_events();
    run_tasks();
    accept_clients();
    for (auto& link : links) serve(link);
    if (std::exchange(cut_due, false)) cut_all();
    links.remove_if([](const Link& link) { return link.broken || link.up.drained() || link.down.drained(); });
  }
}

void TcpProxy::State::wait_for_events() {
  const auto now = Clock::now();
  auto next = now + std::chrono::hours{1};
  std::vector<pollfd> polled{{wake.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
  const auto add = [&](const FileDescriptor& socket, const Direction& from, const Direction& to) {
    const int events = (from.wants_input() ? POLLIN : 0) | (to.due(now) ? POLLOUT : 0);
    // An ended socket would report its hang-up for ever, also when nothing is asked of it.
    polled.push_back({events != 0 ? socket.get() : -1, static_cast<short>(events), 0});
    if (!to.chunks.empty() && !to.due(now)) next = std::min(next, to.chunks.front().due);
  };
  for (const auto& link : links) {
    add(link.client, link.up, link.down);
    add(link.server, link.down, link.up);
  }
  const auto timeout = std::chrono::ceil<std::chrono::milliseconds>(next - now);
  ::poll(polled.data(), polled.size(), static_cast<int>(timeout.count()));
}

void TcpProxy::State::run_tasks() {
  eventfd_t ignored = 0;
  ::eventfd_read(wake.get(), &ignored);
  std::vector<std::function<void()>> ready;
  {
    const std::lock_guard lock{mutex};
    ready.swap(tasks);
  }
  for (const auto& task : ready) task();
}

void TcpProxy::State::accept_clients() {
  for (;;) {
    const int accepted_socket = ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted_socket < 0) return;
    FileDescriptor client{accepted_socket, "accept"};
    if (refusing) {
      reset_connection(client);
      continue;
    }
    ++accepted;
    auto server = start_connecting(target_port);
    send_at_once(client);
    send_at_once(server);
    links.push_back({std::move(client), std::move(server), {}, {}, false});
  }
}

void TcpProxy::State::serve(Link& link) {
  receive(link, link.client, link.up);
  receive(link, link.server, link.down);
  send(link, link.server, link.up);
  send(link, link.client, link.down);
  if (!link.broken) return;
  reset_connection(link.client);
  reset_connection(link.server);
}

void TcpProxy::State::receive(Link& link, const FileDescriptor& from, Direction& direction) {
  std::array<char, 65536> buffer{};
  while (!link.broken && direction.wants_input()) {
    const auto size = ::recv(from.get(), buffer.data(), buffer.size(), 0);
    if (size < 0) {
      link.broken = errno != EAGAIN && errno != EINTR;
      return;
    }
    direction.ended = size == 0;
    const auto received = static_cast<std::size_t>(size);
    const auto kept = &direction == &link.down ? let_through(received) : received;
    if (kept == 0) continue;
    direction.chunks.push_back({Clock::now() + delay, {buffer.data(), kept}});
    direction.size += kept;
  }
}

void TcpProxy::State::send(Link& link, const FileDescriptor& to, Direction& direction) {
  while (!link.broken && !cut_due && direction.due(Clock::now())) {
    auto& bytes = direction.chunks.front().bytes;
    const auto size =
        ::send(to.get(), bytes.data(), std::min(bytes.size(), allowance(link, direction)), MSG_NOSIGNAL);
    if (size < 0) {
      link.broken = errno != EAGAIN && errno != EINTR;
      return;
    }
    const auto sent = static_cast<std::size_t>(size);
    if (&direction == &link.up) count_upstream(sent);
    direction.size -= sent;
    bytes.erase(0, sent);
    if (bytes.empty()) direction.chunks.pop_front();
  }
}

std::size_t TcpProxy::State::allowance(const Link& link, const Direction& direction) const {
  return &direction == &link.up && upstream_budget ? *upstream_budget : direction_capacity;
}

void TcpProxy::State::count_upstream(std::size_t size) {
  bytes_to_server += size;
  if (!upstream_budget) return;
  *upstream_budget -= size;
  if (*upstream_budget > 0) return;
  upstream_budget.reset();
  cut_due = true;
}

/// How many of the next bytes from the server are not swallowed.
std::size_t TcpProxy::State::let_through(std::size_t size) {
  if (swallowing) return 0;
  if (downstream_budget) {
    size = std::min(size, static_cast<std::size_t>(*downstream_budget));
    *downstream_budget -= size;
    if (*downstream_budget == 0) {
      downstream_budget.reset();
      swallowing = true;
    }
  }
  bytes_from_server += size;
  return size;
}

void TcpProxy::State::cut_all() {
  for (auto& link : links) {
    reset_connection(link.client);
    reset_connection(link.server);
  }
  links.clear();
  ++cuts;
}

TcpProxy::TcpProxy(int target_port) : state_(std::make_unique<State>(target_port)) {}
TcpProxy::~TcpProxy() = default;

int TcpProxy::port() const noexcept { return state_->port; }
std::string TcpProxy::url() const { return "nats://127.0.0.1:" + std::to_string(port()); }

void TcpProxy::cut() {
  state_->perform([this] { state_->cut_all(); });
}
void TcpProxy::refuse(bool on) {
  state_->perform([this, on] { state_->refusing = on; });
}
void TcpProxy::cut_after_bytes_to_server(std::uint64_t count) {
  state_->perform([this, count] {
    if (count == 0) return state_->cut_all();
    state_->upstream_budget = count;
  });
}
void TcpProxy::delay(std::chrono::milliseconds time) {
  state_->perform([this, time] { state_->delay = time; });
}
void TcpProxy::swallow_from_server(bool on) {
  state_->perform([this, on] { state_->swallowing = on; });
}
void TcpProxy::swallow_after_bytes_from_server(std::uint64_t count) {
  state_->perform([this, count] {
    state_->swallowing = count == 0;
    if (count > 0) state_->downstream_budget = count;
  });
}

std::size_t TcpProxy::connections() const {
  return state_->perform([this] { return state_->links.size(); });
}
std::uint64_t TcpProxy::accepted() const {
  return state_->perform([this] { return state_->accepted; });
}
std::uint64_t TcpProxy::cuts() const {
  return state_->perform([this] { return state_->cuts; });
}
std::uint64_t TcpProxy::bytes_to_server() const {
  return state_->perform([this] { return state_->bytes_to_server; });
}
std::uint64_t TcpProxy::bytes_from_server() const {
  return state_->perform([this] { return state_->bytes_from_server; });
}

}  // namespace tidings::test
