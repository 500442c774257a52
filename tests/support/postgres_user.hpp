#pragma once

// PostgreSQL and PgBouncer refuse to run as root: then they run as the user that Debian's packages make.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// The program and arguments that run `program`: as they are for an ordinary user.
[[nodiscard]] std::pair<std::filesystem::path, std::vector<std::string>> as_postgres_user(
    const std::filesystem::path& program, std::vector<std::string> arguments);

void give_to_postgres_user(const std::filesystem::path& folder);

}  // namespace tidings::test
