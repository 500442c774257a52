#include <tidings/error.hpp>
#include <tidings/stop_signals.hpp>

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdint>

namespace tidings {
namespace {

// A signal handler can reach nothing but what is static.
std::atomic<int> wake_fd{-1};
std::atomic<int> signals_seen{0};
// The process that has the thread: a fork of it has the handler and the descriptor only.
std::atomic<pid_t> watching{0};
struct sigaction previous_interrupt, previous_terminate;

void on_signal(int signal) {
  if (getpid() != watching.load()) {
    // A forked child ends as it would without us. Its parent is not told: the signal is not the parent's.
    sigaction(signal, signal == SIGINT ? &previous_interrupt : &previous_terminate, nullptr);
    raise(signal);  // comes once this returns
    return;
  }
  if (signals_seen.fetch_add(1) > 0) _exit(130);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_fd.load(), &one, sizeof one);
}

}  // namespace

StopSignals::StopSignals() {
  const int fd = eventfd(0, EFD_CLOEXEC);
  if (fd < 0) throw Error("cannot make an eventfd for signals: out of file descriptors");
  int none = -1;
  if (!wake_fd.compare_exchange_strong(none, fd)) {
    close(fd);
    throw Error("signals are already watched: one StopSignals at a time");
  }
  signals_seen = 0;
  watching = getpid();
  watcher_ = std::jthread([this, fd] {
    std::uint64_t count = 0;
    while (read(fd, &count, sizeof count) < 0) {
    }
    if (signals_seen.load() > 0) source_.request_stop();
  });
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_interrupt);
  sigaction(SIGTERM, &action, &previous_terminate);
}

StopSignals::~StopSignals() {
  sigaction(SIGINT, &previous_interrupt, nullptr);
  sigaction(SIGTERM, &previous_terminate, nullptr);
  if (getpid() != watching.load()) {
    watcher_.detach();  // a forked child has no such thread, and must not wake its parent's
    close(wake_fd.exchange(-1));
    return;
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_fd.load(), &one, sizeof one);
  watcher_.join();
  close(wake_fd.exchange(-1));
}

}  // namespace tidings
