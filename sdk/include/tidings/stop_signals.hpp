#pragma once

#include <stop_token>
#include <thread>

namespace tidings {

/// Turns SIGINT and SIGTERM into a stop request while it lives; the previous handlers come back when it goes.
/// A second signal ends the process at once with exit code 130, without the drain. One at a time. A forked
/// child gets the previous handlers at its first signal, which stops the child and not its parent.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();

  [[nodiscard]] std::stop_token token() const noexcept { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread watcher_;
};

}  // namespace tidings
