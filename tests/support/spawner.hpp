#pragma once

// Starts child processes that cannot outlive the tests.

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace tidings::test {

struct Command {
  std::filesystem::path program;  ///< without a slash: looked for on PATH and where Debian keeps servers
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  ///< `NAME=value`, added to this process's own
  std::filesystem::path input = "/dev/null";
  std::filesystem::path output, errors;  ///< appended to
  int network = -1;                      ///< descriptor of the network namespace it runs in; -1: this one
};

/// Starts it and returns its process id; the caller must wait for it. The child gets SIGKILL when
/// the test process ends, however that happens. Settings of the shell that runs the tests (NATS_*,
/// OUTBOX_*, CONSUMER_*, DATABASE_URL) are not handed down. Thread-safe.
[[nodiscard]] pid_t spawn(const Command& command);

}  // namespace tidings::test
