#pragma once

// The inbox's tables may have a prefix. SQL is written without it.

#include <string>
#include <unordered_map>

namespace tidings {

/// Not thread-safe.
class TableNames {
 public:
  /// Throws SettingError for a prefix that InboxOptions does not allow.
  explicit TableNames(std::string prefix);

  /// The SQL with the names that the tables have, until the next call.
  [[nodiscard]] const std::string& in(const std::string& sql);

 private:
  std::string prefix_;
  std::unordered_map<std::string, std::string> known_;  // by the SQL without a prefix
};

}  // namespace tidings
