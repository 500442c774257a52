#pragma once

// Looks into a database file from outside of the code under test.

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace tidings::test::sqlite {

/// The first column of the first row; throws when there is no row. Reading never writes to the file,
/// not even a checkpoint.
[[nodiscard]] std::int64_t number(const std::filesystem::path& database, const std::string& query);
[[nodiscard]] std::string text(const std::filesystem::path& database, const std::string& query);

/// The first column of all rows.
[[nodiscard]] std::vector<std::string> column(const std::filesystem::path& database,
                                              const std::string& query);

/// One or more statements; makes the file when it is missing.
void execute(const std::filesystem::path& database, const std::string& statements);

}  // namespace tidings::test::sqlite
