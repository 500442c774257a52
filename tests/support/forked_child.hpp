#pragma once

// A forked copy of the test: a second process on the same database, that can be
// frozen and killed.

#include "support/process.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <system_error>

namespace tidings::test {

/// Fork before this process opens the database: SQLite's connections and the locks that it believes to
/// hold must not cross a fork.
class Child {
 public:
  /// The child ends with what `work` returns, or with 111 when it throws.
  explicit Child(const std::function<int()>& work) : pid_(::fork()) {
    if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      ::_exit(work());
    } catch (...) {
      ::_exit(111);
    }
  }
  ~Child() {
    if (pid_ <= 0) return;
    send(SIGKILL);
    wait();
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }

  /// Returns when SIGSTOP has taken effect.
  void freeze() const {
    send(SIGSTOP);
    int status = 0;
    ::waitpid(pid_, &status, WUNTRACED);
  }

  Exit wait() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFSIGNALED(status) ? killed_by(WTERMSIG(status)) : exited(WEXITSTATUS(status));
  }

 private:
  pid_t pid_;
};

}  // namespace tidings::test
