#pragma once

// What users are told: the README's table of settings, and each program's --help.

#include <set>
#include <string>
#include <vector>

namespace tidings::test {

[[nodiscard]] std::set<std::string> documented_settings();

/// Flags and commands that `tidings relay --help` and the like name, for a command line with its
/// arguments. Throws when there is no such program or command.
[[nodiscard]] std::set<std::string> documented_flags(const std::vector<std::string>& command_line);

}  // namespace tidings::test
