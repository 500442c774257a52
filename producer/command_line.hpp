#pragma once

// What every command has in common: flags that override settings, --help and
// --version, the log on stderr, one line for an error, and the exit codes.

#include <CLI/CLI.hpp>

#include <functional>
#include <initializer_list>
#include <string>

namespace tidings {

namespace exit_code {
inline constexpr int done = 0;
inline constexpr int failed = 1;
inline constexpr int usage = 2;  ///< wrong usage or setting
}  // namespace exit_code

/// Groups of settings; a command offers the flags of the groups that it reads.
enum class SettingGroup { database, nats, outbox };

/// A program with commands. Settings are read by the command's own code, from the environment:
/// a flag writes its setting there first, so a flag wins and there is one path for both.
class CommandLine {
 public:
  /// Does the command's work; its result is the exit code.
  using Work = std::function<int()>;

  CommandLine(const std::string& program, const std::string& description);

  /// A command that only holds others (`tidings outbox`).
  CLI::App& family(const std::string& name, const std::string& description);

  /// A command of the program, or of `parent`. Its own flags are added to the result, whose callback is
  /// taken.
  CLI::App& command(const std::string& name, const std::string& description,
                    std::initializer_list<SettingGroup> settings, Work work, CLI::App* parent = nullptr);

  /// Parses, runs the chosen command and returns the exit code. What is thrown becomes one line on stderr.
  int run(int argc, const char* const* argv);

 private:
  int complain(std::string line, int code) const;

  CLI::App app_;
  Work chosen_;
};

/// DATABASE_URL (default `sqlite:auth.db`).
[[nodiscard]] std::string database_url();

}  // namespace tidings
