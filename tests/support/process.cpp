#include "support/process.hpp"

#include "support/spawner.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <signal.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <ostream>
#include <stdexcept>

namespace tidings::test {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Exit& exit) {
  if (exit.signal != 0) return out << "killed by signal " << exit.signal;
  return out << "exit code " << exit.code;
}

std::filesystem::path executable(const std::string& name) {
  return std::filesystem::path(TIDINGS_BIN_DIR) / name;
}

struct Process::State {
  State(const std::filesystem::path& program, const std::vector<std::string>& arguments,
        const ProcessOptions& options)
      : name(program.filename().string()) {
    const auto folder = options.log_folder.empty() ? scratch.path() : options.log_folder;
    out = folder / (name + ".out");
    err = folder / (name + ".err");
    Command command{program, arguments, {}, "/dev/null", out, err, options.network};
    for (const auto& [variable, value] : options.environment)
      command.environment.push_back(variable + "=" + value);
    if (!options.input.empty()) {
      command.input = scratch / "input";
      std::ofstream{command.input, std::ios::binary} << options.input;
    }
    pid = spawn(command);
  }

  ~State() {
    if (exit) return;
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  bool running() {
    int status = 0;
    if (exit || ::waitpid(pid, &status, WNOHANG) != pid) return !exit;
    exit = WIFSIGNALED(status) ? killed_by(WTERMSIG(status)) : exited(WEXITSTATUS(status));
    return false;
  }

  TempDir scratch;
  std::string name;
  std::filesystem::path out, err;
  pid_t pid = -1;
  std::optional<Exit> exit;  // once known, the id may belong to another process
};

Process::Process(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                 const ProcessOptions& options)
    : state_(std::make_unique<State>(program, arguments, options)) {}

Process::~Process() = default;
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;

pid_t Process::pid() const noexcept { return state_->pid; }
bool Process::running() { return state_->running(); }

void Process::kill(int signal) {
  if (state_->running()) ::kill(state_->pid, signal);
}

void Process::pause() {
  if (!running()) return;
  ::kill(state_->pid, SIGSTOP);
  siginfo_t seen{};  // only looked at: an end is still there for running() to find
  ::waitid(P_PID, static_cast<id_t>(state_->pid), &seen, WSTOPPED | WEXITED | WNOWAIT);
}

void Process::resume() { kill(SIGCONT); }

Exit Process::wait(std::chrono::milliseconds deadline) {
  if (!eventually(deadline, [this] { return !running(); }))
    throw std::runtime_error(state_->name + " still runs after " + std::to_string(deadline.count()) +
                             " ms\nstdout: " + out() + "\nstderr: " + err());
  return *state_->exit;
}

bool Process::wait_for_output(const std::string& text, std::chrono::milliseconds deadline) {
  const auto written = [this, &text] {
    return out().find(text) != std::string::npos || err().find(text) != std::string::npos;
  };
  bool ended = false;
  // Asked before the output is read: what a process writes last must not be missed.
  return eventually(deadline, [&] { return (ended = !running(), written()) || ended; }) && written();
}

std::string Process::out() const { return read_file(state_->out); }
std::string Process::err() const { return read_file(state_->err); }

Finished run(const std::filesystem::path& program, const std::vector<std::string>& arguments,
             const ProcessOptions& options, std::chrono::milliseconds deadline) {
  Process process{program, arguments, options};
  const Exit exit = process.wait(deadline);
  return {exit, process.out(), process.err()};
}

}  // namespace tidings::test
