#pragma once

// Code under test in a process of its own, which may die of it.

#include "support/catch.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace tidings::test {

/// Runs `work` in a fork of this process and returns the signal that ended it, 0 for none. What `work`
/// needs of threads it must start itself, and none may run here meanwhile.
template <class Work>
int signal_that_ends(Work&& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);  // Catch2 would report the child's death as the test's
    work();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

}  // namespace tidings::test
