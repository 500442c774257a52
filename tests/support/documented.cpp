#include "support/documented.hpp"

#include "support/deployed_nats.hpp"
#include "support/process.hpp"

#include <regex>
#include <sstream>
#include <stdexcept>

namespace tidings::test {
namespace {

std::set<std::string> matches(const std::string& text, const std::regex& pattern) {
  std::set<std::string> found;
  for (std::sregex_iterator match{text.begin(), text.end(), pattern}, end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

}  // namespace

std::set<std::string> documented_settings() {
  std::istringstream readme{text_of(deploy_folder().parent_path() / "README.md")};
  std::set<std::string> settings;
  for (std::string line; std::getline(readme, line);)
    if (line.starts_with("| `"))
      settings.merge(matches(line.substr(0, line.find('|', 1)), std::regex{"`([A-Z_]+)`"}));
  return settings;
}

std::set<std::string> documented_flags(const std::vector<std::string>& command_line) {
  std::vector<std::string> arguments;
  for (std::size_t i = 1; i < command_line.size() && !command_line[i].starts_with('-'); ++i)
    arguments.push_back(command_line[i]);
  arguments.emplace_back("--help");
  const auto help = run(executable(command_line.front()), arguments);
  if (help.exit != exited(0)) throw std::runtime_error(command_line.front() + ": " + help.err);
  return matches(help.out, std::regex{"(--[a-z][a-z-]+)"});
}

}  // namespace tidings::test
