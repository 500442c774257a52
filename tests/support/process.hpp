#pragma once

// A real program, run as a user would run it.

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// How a process ended.
struct Exit {
  int code = 0;
  int signal = 0;  ///< above 0 when a signal ended it; `code` means nothing then
  friend bool operator==(const Exit&, const Exit&) = default;
};
[[nodiscard]] constexpr Exit exited(int code) { return {code, 0}; }
[[nodiscard]] constexpr Exit killed_by(int signal) { return {0, signal}; }
std::ostream& operator<<(std::ostream& out, const Exit& exit);

struct ProcessOptions {
  std::vector<std::pair<std::string, std::string>> environment{};  ///< added; a value here wins
  std::string input{};                                             ///< what it reads on stdin
  std::filesystem::path log_folder{};  ///< where stdout and stderr are kept; empty: a temporary folder
  int network = -1;                    ///< descriptor of the network namespace it runs in; -1: the test's own
};

/// One of the programs that this build makes: `executable("auth-service")`.
[[nodiscard]] std::filesystem::path executable(const std::string& name);

/// Ends with SIGKILL with this object or with the test process, if it still runs. Not thread-safe.
class Process {
 public:
  /// Throws when there is no such program. A name without a slash is looked for on PATH.
  explicit Process(const std::filesystem::path& program, const std::vector<std::string>& arguments = {},
                   const ProcessOptions& options = {});
  ~Process();
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;

  [[nodiscard]] pid_t pid() const noexcept;
  [[nodiscard]] bool running();
  void kill(int signal);  ///< sends it and returns at once; nothing when the process has ended
  void pause();           ///< SIGSTOP; returns when it stands still
  void resume();          ///< SIGCONT

  /// Waits for the end. Throws, with what the process has written, when it still runs at the deadline.
  Exit wait(std::chrono::milliseconds deadline = std::chrono::seconds{30});

  /// True when stdout or stderr contains `text` in time; false also when the process ended without it.
  [[nodiscard]] bool wait_for_output(const std::string& text,
                                     std::chrono::milliseconds deadline = std::chrono::seconds{30});

  [[nodiscard]] std::string out() const;  ///< stdout so far
  [[nodiscard]] std::string err() const;  ///< stderr so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Runs a program to its end.
struct Finished {
  Exit exit;
  std::string out, err;
};
[[nodiscard]] Finished run(const std::filesystem::path& program,
                           const std::vector<std::string>& arguments = {}, const ProcessOptions& options = {},
                           std::chrono::milliseconds deadline = std::chrono::seconds{30});

}  // namespace tidings::test
