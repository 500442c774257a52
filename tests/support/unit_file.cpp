#include "support/unit_file.hpp"

#include <fstream>
#include <regex>
#include <sstream>
#include <stdexcept>

namespace tidings::test {
namespace {

std::string with_specifiers(std::string text) {
  for (const auto& [specifier, value] : {std::pair{"%i", "1"}, std::pair{"%H", "host"}})
    for (auto at = text.find(specifier); at != std::string::npos; at = text.find(specifier))
      text.replace(at, 2, value);
  return text;
}

}  // namespace

UnitFile::UnitFile(const std::filesystem::path& path) {
  std::istringstream file{text_of(path)};
  for (std::string line; std::getline(file, line);) {
    const auto equals = line.find('=');
    if (line.empty() || line.front() == '#' || line.front() == '[' || equals == std::string::npos) continue;
    entries_.emplace(line.substr(0, equals), with_specifiers(line.substr(equals + 1)));
  }
}

std::vector<std::string> UnitFile::values(const std::string& key) const {
  std::vector<std::string> values;
  const auto [begin, end] = entries_.equal_range(key);
  for (auto entry = begin; entry != end; ++entry) values.push_back(entry->second);
  return values;
}

std::string UnitFile::value(const std::string& key) const {
  const auto all = values(key);
  if (all.size() != 1) throw std::runtime_error("the unit has " + std::to_string(all.size()) + " " + key);
  return all.front();
}

std::vector<std::string> UnitFile::command_line() const {
  std::istringstream words{value("ExecStart")};
  std::vector<std::string> command;
  for (std::string word; words >> word;) command.push_back(word);
  return command;
}

Environment read_environment_file(const std::filesystem::path& path, bool also_commented) {
  std::istringstream file{text_of(path)};
  const std::regex assignment{also_commented ? "#?([A-Z_]+)=(.*)" : "([A-Z_]+)=(.*)"};
  Environment environment;
  std::smatch match;
  for (std::string line; std::getline(file, line);)
    if (std::regex_match(line, match, assignment)) environment.emplace_back(match[1], match[2]);
  return environment;
}

}  // namespace tidings::test
