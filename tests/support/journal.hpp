#pragma once

// What processes tell the test that has started them.

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

/// JSON, one object a line, each with who has written it.
class Journal {
 public:
  explicit Journal(std::filesystem::path file) : file_(std::move(file)) {}

  void add(nlohmann::json line) const {
    line["pid"] = ::getpid();
    std::ofstream{file_, std::ios::app} << line.dump() + '\n' << std::flush;
  }
  [[nodiscard]] std::vector<nlohmann::json> lines() const {
    std::vector<nlohmann::json> all;
    std::ifstream in{file_};
    for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }

 private:
  std::filesystem::path file_;
};

}  // namespace tidings::test
