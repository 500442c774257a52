#pragma once

// A systemd unit as it is written, and environment files as systemd reads them.

#include "support/deployed_nats.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

class UnitFile {
 public:
  explicit UnitFile(const std::filesystem::path& file);

  /// The values of a key in the order written; specifiers (%i, %H) are replaced by `instance` and `host`.
  [[nodiscard]] std::vector<std::string> values(const std::string& key) const;
  /// Of a key that is there exactly once; throws otherwise.
  [[nodiscard]] std::string value(const std::string& key) const;
  /// ExecStart in words; there are no quotes in ours.
  [[nodiscard]] std::vector<std::string> command_line() const;

 private:
  std::multimap<std::string, std::string> entries_;
};

/// In the order written. With `also_commented`, `#NAME=value` counts as well.
[[nodiscard]] Environment read_environment_file(const std::filesystem::path& file,
                                                bool also_commented = false);

}  // namespace tidings::test
