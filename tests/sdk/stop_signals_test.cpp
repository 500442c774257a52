// SIGINT and SIGTERM as a stop request, also in a process that forks.

#include "support/catch.hpp"
#include "support/forked_child.hpp"
#include "support/wait.hpp"

#include <tidings/stop_signals.hpp>

#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <memory>

using namespace tidings;
using namespace tidings::test;

namespace {

/// As a process has it that no test runs in.
class DefaultActions {
 public:
  DefaultActions() : interrupt_(std::signal(SIGINT, SIG_DFL)), terminate_(std::signal(SIGTERM, SIG_DFL)) {}
  ~DefaultActions() {
    std::signal(SIGINT, interrupt_);
    std::signal(SIGTERM, terminate_);
  }
  DefaultActions(const DefaultActions&) = delete;
  DefaultActions& operator=(const DefaultActions&) = delete;

 private:
  using Handler = void (*)(int);
  Handler interrupt_, terminate_;
};

}  // namespace

TEST_CASE("a signal is a stop request, and the former handlers come back") {
  const DefaultActions actions;
  const int signal = GENERATE(SIGINT, SIGTERM);
  {
    const StopSignals signals;
    CHECK_FALSE(signals.token().stop_requested());
    REQUIRE(std::raise(signal) == 0);
    REQUIRE_WITHIN(10s, signals.token().stop_requested());
  }
  CHECK(std::signal(signal, SIG_DFL) == SIG_DFL);
}

// ThreadSanitizer calls a fork's handlers after the call that was interrupted, where raise() ends nothing.
#ifndef __SANITIZE_THREAD__
TEST_CASE("a forked child ends by the signal that it gets, and its parent still listens to its own") {
  const DefaultActions actions;
  const int signal = GENERATE(SIGINT, SIGTERM);
  const StopSignals signals;
  Child child{[] {
    (void)::poll(nullptr, 0, 20000);  // until a signal comes
    return 7;
  }};
  child.send(signal);
  CHECK(child.wait() == killed_by(signal));
  CHECK_FALSE(signals.token().stop_requested());
  REQUIRE(std::raise(signal) == 0);
  REQUIRE_WITHIN(10s, signals.token().stop_requested());
}
#endif

TEST_CASE("a forked child may leave the scope of its parent's StopSignals") {
  const DefaultActions actions;
  auto signals = std::make_unique<StopSignals>();
  Child child{[&signals] {
    ::alarm(20);  // instead of hanging
    signals.reset();
    return 0;
  }};
  CHECK(child.wait() == exited(0));
  CHECK_FALSE(signals->token().stop_requested());
  REQUIRE(std::raise(SIGTERM) == 0);
  REQUIRE_WITHIN(10s, signals->token().stop_requested());
}
