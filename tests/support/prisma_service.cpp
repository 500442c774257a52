#include "support/prisma_service.hpp"

#include "support/file_descriptor.hpp"
#include "support/process.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <array>
#include <cmath>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace tidings::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const fs::path source{TIDINGS_PRISMA_SOURCE};
const fs::path folder{TIDINGS_PRISMA_FOLDER};

// What the installation depends on; register.mjs may change without another one.
constexpr std::array ingredients{"package.json", "package-lock.json", ".npmrc", "schema.prisma"};

std::string content(const fs::path& file) {
  std::ifstream in{file};
  return {std::istreambuf_iterator<char>{in}, {}};
}

std::string recipe() {
  std::string all;
  for (const auto* name : ingredients) all += content(source / name);
  return all;
}

/// A program of that name that runs, or why not.
std::string missing(const std::string& program) {
  try {
    return run(program, {"--version"}).exit == exited(0) ? "" : program + " does not run";
  } catch (const std::exception&) {
    return program + " is missing: scripts/setup --prisma installs it";
  }
}

/// package.json's `engines`; npm would hold every package below it to its own.
std::string too_old() {
  const auto version = run("node", {"--version"}).out;
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "v%d.%d", &major, &minor) != 2) return "node has no version: " + version;
  const bool fits = (major == 20 && minor >= 19) || (major == 22 && minor >= 12) || major >= 24;
  return fits ? ""
              : "node is " + version.substr(0, version.find('\n')) +
                    ", Prisma 7 takes 20.19, 22.12, 24 or newer";
}

Finished npm(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(),
                   {"--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline",
                    "--fetch-retries=1", "--fetch-retry-mintimeout=500"});
  return run("npm", arguments, {}, 80s);
}

/// The word that npm has for it; its other words name hosts.
std::string error_code(const std::string& said) {
  std::istringstream lines{said};
  for (std::string line; std::getline(lines, line);)
    if (const auto at = line.find(" code "); line.starts_with("npm ") && at != std::string::npos)
      return line.substr(at + 6);
  return "no code";
}

/// Everything of npm that may fail elsewhere than in our files is a reason to do without.
std::string why_npm_failed(const Finished& finished) {
  if (finished.exit == exited(0)) return "";
  const auto code = error_code(finished.err);
  for (const auto* ours : {"EUSAGE", "EINTEGRITY", "EJSONPARSE"})
    if (code == ours) throw std::runtime_error("npm ci: " + finished.err);
  return "npm cannot install the Prisma client (" + code + ")";
}

/// The client's code from the schema. The engine that changes tables is not needed, and not in the registry.
void generate() {
  const auto made =
      run("node",
          {folder / "node_modules/prisma/build/index.js", "generate", "--schema", folder / "schema.prisma"},
          {.environment = {{"PRISMA_SCHEMA_ENGINE_BINARY", "/bin/true"},
                           {"PRISMA_HIDE_UPDATE_MESSAGE", "1"},
                           {"CHECKPOINT_DISABLE", "1"},
                           {"XDG_CACHE_HOME", folder / "cache"}},
           .input = {},
           .log_folder = {}});
  if (made.exit != exited(0)) throw std::runtime_error("prisma generate failed: " + made.out + made.err);
}

std::string install() {
  for (const auto* program : {"node", "npm"})
    if (auto why = missing(program); !why.empty()) return why;
  if (auto why = too_old(); !why.empty()) return why;
  fs::remove(folder / "recipe");
  for (const auto* name : ingredients)
    fs::copy_file(source / name, folder / name, fs::copy_options::overwrite_existing);
  try {
    if (auto why = why_npm_failed(npm({"ci"})); !why.empty()) return why;
  } catch (const std::runtime_error& late) {
    if (std::string{late.what()}.starts_with("npm ci")) throw;
    return "npm did not install the Prisma client in 80 s";
  }
  generate();
  (void)npm({"prune", "--omit=dev"});  // nearly all of it is there to generate
  std::ofstream{folder / "recipe"} << recipe();
  return "";
}

Instant instant(const nlohmann::json& milliseconds) {
  return Instant{std::chrono::microseconds{std::llround(milliseconds.get<double>() * 1000)}};
}

}  // namespace

std::string why_no_prisma() {
  fs::create_directories(folder);
  const FileDescriptor lock{::open((folder / "lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600),
                            "lock " + folder.string()};
  if (::flock(lock.get(), LOCK_EX) != 0) throw std::runtime_error("cannot lock " + folder.string());
  if (content(folder / "recipe") == recipe()) return "";
  return install();
}

std::vector<PrismaEvent> register_with_prisma(const std::string& database_url, int users,
                                              std::chrono::milliseconds pause) {
  fs::copy_file(source / "register.mjs", folder / "register.mjs", fs::copy_options::update_existing);
  const auto registered =
      run("node", {folder / "register.mjs", std::to_string(users), std::to_string(pause.count())},
          {.environment = {{"DATABASE_URL", database_url}}, .input = {}, .log_folder = {}});
  if (registered.exit != exited(0)) throw std::runtime_error("register.mjs failed: " + registered.err);
  std::vector<PrismaEvent> events;
  std::istringstream lines{registered.out};
  for (std::string line; std::getline(lines, line);) {
    const auto said = nlohmann::json::parse(line);
    events.push_back({said.at("id"), said.at("aggregateId"), said.at("occurredAt"), said.at("eventData"),
                      instant(said.at("asked")), instant(said.at("confirmed"))});
  }
  return events;
}

}  // namespace tidings::test
