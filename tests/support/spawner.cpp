#include "support/spawner.hpp"

#include "support/file_descriptor.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>

namespace tidings::test {
namespace {

std::filesystem::path find_program(const std::filesystem::path& program) {
  if (program.string().find('/') != std::string::npos) return program;
  const char* path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "";
  folders += ":/usr/sbin:/usr/local/sbin";  // nats-server is there, and off the PATH of ordinary users
  for (std::size_t start = 0; start < folders.size();) {
    const auto end = std::min(folders.find(':', start), folders.size());
    const auto candidate = std::filesystem::path(folders.substr(start, end - start)) / program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    start = end + 1;
  }
  throw std::runtime_error("no " + program.string() + " on the PATH: run scripts/setup");
}

bool is_setting(std::string_view variable) {
  for (const std::string_view prefix : {"NATS_", "OUTBOX_", "CONSUMER_", "DATABASE_URL="})
    if (variable.starts_with(prefix)) return true;
  return false;
}

std::vector<std::string> environment_of(const Command& command) {
  std::vector<std::string> environment = command.environment;
  const auto overridden = [&command](std::string_view variable) {
    const auto name = variable.substr(0, variable.find('=') + 1);
    for (const auto& added : command.environment)
      if (added.starts_with(name)) return true;
    return false;
  };
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!is_setting(*variable) && !overridden(*variable)) environment.emplace_back(*variable);
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (auto& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

/// What the child needs, made before the fork: after it, only async-signal-safe calls are allowed.
struct Image {
  explicit Image(const Command& command)
      : program(find_program(command.program).string()),
        arguments(command.arguments),
        environment(environment_of(command)),
        input(::open(command.input.c_str(), O_RDONLY | O_CLOEXEC), "open " + command.input.string()),
        output(open_log(command.output)),
        errors(open_log(command.errors)),
        network(command.network) {
    arguments.insert(arguments.begin(), program);
    argv = pointers(arguments);
    envp = pointers(environment);
  }

  static FileDescriptor open_log(const std::filesystem::path& path) {
    return {::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644), "open " + path.string()};
  }

  std::string program;
  std::vector<std::string> arguments, environment;
  FileDescriptor input, output, errors;
  int network;
  std::vector<char*> argv, envp;
};

[[noreturn]] void become(const Image& image, pid_t parent, int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);  // it died before the line above
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);  // nats.c ignores it, and exec would hand that down
  ::dup2(image.input.get(), STDIN_FILENO);
  ::dup2(image.output.get(), STDOUT_FILENO);
  ::dup2(image.errors.get(), STDERR_FILENO);
  // A connection of the test that the child kept open would not end when the test closes it.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  if (image.network < 0 || ::setns(image.network, CLONE_NEWNET) == 0)
    ::execve(image.program.c_str(), image.argv.data(), image.envp.data());
  const int error = errno;
  [[maybe_unused]] const auto written = ::write(report, &error, sizeof error);
  ::_exit(127);
}

pid_t fork_and_exec(const Command& command) {
  const Image image{command};
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "make a pipe");
  FileDescriptor result{ends[0], "pipe"};
  FileDescriptor report{ends[1], "pipe"};

  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(image, parent, report.get());
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");

  report.reset();  // the pipe now ends when exec closes the child's copy
  int error = 0;
  if (::read(result.get(), &error, sizeof error) == static_cast<ssize_t>(sizeof error)) {
    ::waitpid(child, nullptr, 0);
    throw std::system_error(error, std::generic_category(), "run " + image.program);
  }
  return child;
}

/// One thread that starts all children and lives as long as the process: the death signal comes
/// when the *thread* that forked ends, and a test's own threads end early.
class Spawner {
 public:
  static Spawner& instance() {
    static Spawner spawner;
    return spawner;
  }

  pid_t run(const Command& command) {
    std::packaged_task<pid_t()> task{[&command] { return fork_and_exec(command); }};
    auto child = task.get_future();
    {
      const std::lock_guard lock{mutex_};
      tasks_.push_back(std::move(task));
    }
    changed_.notify_one();
    return child.get();
  }

 private:
  Spawner() : thread_([this](const std::stop_token& stop) { work(stop); }) {}

  void work(const std::stop_token& stop) {
    std::unique_lock lock{mutex_};
    while (changed_.wait(lock, stop, [this] { return !tasks_.empty(); })) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<std::packaged_task<pid_t()>> tasks_;
  std::jthread thread_;
};

}  // namespace

pid_t spawn(const Command& command) { return Spawner::instance().run(command); }

}  // namespace tidings::test
