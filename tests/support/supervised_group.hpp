#pragma once

// A group of consumers whose processes end, and are started again.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/journal.hpp"
#include "support/process.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// Three processes under a supervisor.
class SupervisedGroup {
 public:
  /// Instances are the hidden case `servant` of this program, each in a process of its own.
  SupervisedGroup(std::string servant, const Scene& scene, const Journal& journal,
                  const std::filesystem::path& journal_file)
      : servant_(std::move(servant)),
        journal_(journal),
        environment_{{"TIDINGS_TEST_URL", scene.server.url()},
                     {"TIDINGS_TEST_INBOX", scene.inbox()},
                     {"TIDINGS_TEST_JOURNAL", journal_file}} {}

  /// Starts those that have ended.
  void supervise() {
    for (std::size_t i = 0; i < processes_.size(); ++i) {
      auto& process = processes_[i];
      if (process && process->running()) continue;
      if (process) require_reason(process->wait(), process->out() + process->err());
      auto environment = environment_;
      // In a SQLite file an instance that waits would keep the others out: there it ends by default.
      const bool ends = engine_under_test() == Engine::sqlite || i == 0;
      environment.emplace_back("TIDINGS_TEST_HANGS", ends ? "for ever" : "");
      process.emplace(std::filesystem::read_symlink("/proc/self/exe"), std::vector<std::string>{servant_},
                      ProcessOptions{.environment = environment, .input = {}, .log_folder = {}});
    }
  }

  [[nodiscard]] bool all_say_that_they_run() const {
    std::map<pid_t, std::string> states;
    for (const auto& line : journal_.lines())
      if (line.contains("state")) states[line.at("pid").get<pid_t>()] = line.at("state");
    return std::ranges::all_of(processes_,
                               [&](const auto& process) { return states[process->pid()] == "running"; });
  }

  void stop() {
    for (auto& process : processes_) process->kill(SIGTERM);
    for (auto& process : processes_) {
      const auto exit = process->wait();
      INFO(process->out() + process->err());
      CHECK(exit == exited(0));
    }
  }

  [[nodiscard]] int ends() const { return ends_; }

 private:
  void require_reason(const Exit& exit, const std::string& output) {
    ++ends_;
    INFO(output);
    if (exit == killed_by(SIGABRT)) return;
    REQUIRE(exit == exited(1));
    REQUIRE_THAT(output, ContainsSubstring("ending this process: the handler of the message at sequence"));
  }

  static constexpr std::size_t instances = 3;

  const std::string servant_;
  const Journal& journal_;
  const std::vector<std::pair<std::string, std::string>> environment_;
  std::array<std::optional<Process>, instances> processes_;
  int ends_ = 0;
};

}  // namespace tidings::test
