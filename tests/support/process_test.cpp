#include "support/process.hpp"

#include "support/environment.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <thread>

using namespace tidings::test;

namespace {

bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

}  // namespace

TEST_CASE("a process gets its arguments, environment and input, and its output is captured") {
  const auto finished =
      run("/bin/sh", {"-c", "read line; echo \"$1 $COLOUR $line\"; echo wrong >&2; exit 3", "sh", "one two"},
          {.environment = {{"COLOUR", "blue"}}, .input = "typed\n"});
  CHECK(finished.exit == exited(3));
  CHECK(finished.out == "one two blue typed\n");
  CHECK(finished.err == "wrong\n");
}

TEST_CASE("a process is looked for on the PATH, and a missing one is an error") {
  CHECK(run("true").exit == exited(0));
  CHECK_THAT(error_of<std::runtime_error>([] { Process{"no-such-program-here"}; }),
             ContainsSubstring("no-such-program-here"));
  CHECK_THAT(error_of<std::runtime_error>([] { Process{"/bin/no-such-program-here"}; }),
             ContainsSubstring("no-such-program-here"));
}

TEST_CASE("a killed process tells the signal, and cannot be hit twice") {
  Process process{"sleep", {"1000"}};
  CHECK(process.running());
  process.kill(SIGKILL);
  CHECK(process.wait() == killed_by(SIGKILL));
  CHECK_FALSE(process.running());
  process.kill(SIGKILL);
  CHECK(process.wait() == killed_by(SIGKILL));
}

TEST_CASE("a paused process does nothing until it is resumed, and its end is seen") {
  Process process{"/bin/sh",
                  {"-c", "trap 'echo done; exit 4' TERM; echo ready; while :; do sleep 0.01; done"}};
  REQUIRE(process.wait_for_output("ready"));
  process.pause();
  process.kill(SIGTERM);
  CHECK_FALSE(process.wait_for_output("done", 50ms));
  process.resume();
  CHECK(process.wait() == exited(4));
  process.pause();  // too late, and no harm
  CHECK(process.out() == "ready\ndone\n");
}

TEST_CASE("waiting for a process that does not end is an error that shows its output") {
  Process process{"/bin/sh", {"-c", "echo busy; exec sleep 1000"}};
  REQUIRE(process.wait_for_output("busy"));
  CHECK_THAT(error_of<std::runtime_error>([&process] { process.wait(20ms); }), ContainsSubstring("busy"));
}

TEST_CASE("waiting for output ends early when the process ends without it") {
  Process process{"/bin/sh", {"-c", "echo last words >&2"}};
  CHECK_FALSE(process.wait_for_output("never said", 60s));
  CHECK(process.wait_for_output("last words", 60s));
}

TEST_CASE("a process is gone with its object") {
  pid_t pid = 0;
  {
    Process process{"sleep", {"1000"}};
    pid = process.pid();
    REQUIRE(alive(pid));
  }
  CHECK_FALSE(alive(pid));
}

TEST_CASE("a process outlives the thread that started it") {
  std::optional<Process> process;
  std::thread{[&process] { process.emplace("sleep", std::vector<std::string>{"1000"}); }}.join();
  CHECK_FALSE(eventually(100ms, [&process] { return !process->running(); }));
}

TEST_CASE("a process dies with the process that started it") {
  if (const char* report = std::getenv("TIDINGS_TEST_CHILD")) {  // this is the inner run, see below
    Process process{"sleep", {"1000"}};
    std::ofstream{report} << process.pid() << std::endl;
    ::kill(::getpid(), SIGKILL);
  }
  const TempDir folder;
  const auto report = folder / "pid";
  const auto inner =
      run("/proc/self/exe", {"a process dies with the process that started it"},
          {.environment = {{"TIDINGS_TEST_CHILD", report.string()}, {"TMPDIR", folder.path().string()}}});
  REQUIRE(inner.exit == killed_by(SIGKILL));
  pid_t pid = 0;
  std::ifstream{report} >> pid;
  REQUIRE(pid > 0);
  CHECK(eventually(10s, [pid] { return !alive(pid); }));
}

TEST_CASE("settings of the shell that runs the tests do not reach a process") {
  const EnvironmentVariable url{"NATS_URL", "nats://elsewhere:4222"};
  const EnvironmentVariable retries{"OUTBOX_MAX_RETRIES", "99"};
  const auto program = "/bin/sh";
  const std::vector<std::string> arguments{"-c", "echo \"[$NATS_URL$OUTBOX_MAX_RETRIES]\""};
  CHECK(run(program, arguments).out == "[]\n");
  CHECK(run(program, arguments, {.environment = {{"NATS_URL", "here"}}}).out == "[here]\n");
}

TEST_CASE("a temporary folder is gone with its object") {
  std::filesystem::path path;
  {
    const TempDir folder;
    path = folder.path();
    std::ofstream{folder / "file"} << "x";
    CHECK(std::filesystem::exists(path / "file"));
    CHECK(TempDir{}.path() != path);
  }
  CHECK_FALSE(std::filesystem::exists(path));
}
