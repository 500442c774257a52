#include "support/postgres_server.hpp"

#include "support/file_descriptor.hpp"
#include "support/postgres_user.hpp"
#include "support/wait.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace tidings::test {
namespace {

namespace fs = std::filesystem;

/// Where Debian puts the programs of a version.
fs::path programs() {
  fs::path newest;
  int version = 0;
  if (fs::exists("/usr/lib/postgresql"))
    for (const auto& entry : fs::directory_iterator{"/usr/lib/postgresql"})
      if (const int its = std::atoi(entry.path().filename().c_str());
          its > version && fs::exists(entry.path() / "bin/initdb")) {
        version = its;
        newest = entry.path() / "bin";
      }
  if (newest.empty()) throw std::runtime_error("no PostgreSQL in /usr/lib/postgresql: run scripts/setup");
  return newest;
}

/// A third of what initdb makes, which each test would copy for nothing.
void drop_unused_template(const fs::path& bin, const fs::path& data) {
  const auto [program, arguments] = as_postgres_user(bin / "postgres", {"--single", "-D", data, "postgres"});
  const auto done = run(program, arguments,
                        {.input = "UPDATE pg_database SET datistemplate = false WHERE datname = 'template0'\n"
                                  "DROP DATABASE template0\n"},
                        120s);
  if (done.exit != exited(0)) throw std::runtime_error("cannot drop template0: " + done.out + done.err);
}

/// Data files as initdb makes them, without what no test uses; shared by all tests of this user on this
/// machine.
fs::path fresh_files() {
  const auto bin = programs();
  const auto name =
      "tidings-postgres-packed-" + bin.parent_path().filename().string() + "-" + std::to_string(geteuid());
  const auto place = fs::temp_directory_path() / name;
  const FileDescriptor lock{::open((place.string() + ".lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600),
                            "lock " + place.string()};
  if (::flock(lock.get(), LOCK_EX) != 0) throw std::runtime_error("cannot lock " + place.string());
  const auto archive = place / "data.tar";
  if (fs::exists(archive)) return archive;
  fs::remove_all(place);
  fs::create_directories(place / "data");
  give_to_postgres_user(place / "data");
  const auto [program, arguments] = as_postgres_user(
      bin / "initdb",
      {"-D", place / "data", "-U", "tidings", "--auth=trust", "--encoding=UTF8", "--locale=C"});
  const auto made = run(program, arguments, {}, 120s);
  if (made.exit != exited(0)) throw std::runtime_error("initdb failed: " + made.out + made.err);
  drop_unused_template(bin, place / "data");
  // Quicker to unpack than a folder is to copy.
  const auto packed = run("tar", {"--create", "--file", place / "new.tar", "--directory", place, "data"});
  if (packed.exit != exited(0)) throw std::runtime_error("cannot pack PostgreSQL's files: " + packed.err);
  fs::remove_all(place / "data");
  fs::rename(place / "new.tar", archive);
  return archive;
}

/// As postmaster.pid says, first line and last; a client that asked would cost more than the start.
bool says_ready(const fs::path& data, pid_t postmaster) {
  std::ifstream lines{data / "postmaster.pid"};
  std::string first, line;
  std::getline(lines, first);
  if (first != std::to_string(postmaster)) return false;  // of one that was killed
  while (std::getline(lines, line))
    if (line.starts_with("ready")) return true;
  return false;
}

fs::path folder_for(PostgresServer::Files files) {
  constexpr std::uintmax_t enough =
      2'000'000'000;  // several servers at once, 40 MB each and what tests write
  const fs::path memory = "/dev/shm";
  std::error_code unknown;
  const auto space = fs::space(memory, unknown);
  const bool fits = !unknown && space.available >= enough && ::access(memory.c_str(), W_OK) == 0;
  return files == PostgresServer::Files::in_memory && fits ? memory : fs::temp_directory_path();
}

}  // namespace

PostgresServer::PostgresServer(std::vector<std::string> settings, Files files)
    : settings_(std::move(settings)), folder_(folder_for(files)) {
  // What a test's few clients need of it: a start is most of what most tests have it do.
  if (files == Files::in_memory)
    settings_.insert(settings_.begin(), {"shared_buffers=32MB", "max_logical_replication_workers=0"});
  fs::permissions(folder_.path(), fs::perms::others_exec | fs::perms::group_exec, fs::perm_options::add);
  const auto unpacked = run("tar", {"--extract", "--file", fresh_files(), "--directory", folder_.path()});
  if (unpacked.exit != exited(0))
    throw std::runtime_error("cannot unpack PostgreSQL's files: " + unpacked.err);
  start();
}

PostgresServer::~PostgresServer() {
  if (process_ && process_->running()) kill();
}

void PostgresServer::start() {
  std::vector<std::string> arguments{"-D", folder_ / "data", "-p", std::to_string(port()),
                                     "-h", "127.0.0.1",      "-k", ""};
  for (const auto& setting : settings_) arguments.insert(arguments.end(), {"-c", setting});
  const auto [program, all] = as_postgres_user(programs() / "postgres", std::move(arguments));
  process_.emplace(program, all, ProcessOptions{.log_folder = folder_.path()});
  bool up = false;
  (void)eventually(60s, [&] {
    up = says_ready(folder_ / "data", process_->pid());
    return up || !process_->running();
  });
  if (!up) throw std::runtime_error("PostgreSQL did not come up:\n" + log());
}

void PostgresServer::start_at(int port) {
  moved_to_ = port;
  start();
}

void PostgresServer::stop() { end(SIGINT); }
void PostgresServer::kill() { end(SIGQUIT); }
void PostgresServer::pause() { process_->pause(); }
void PostgresServer::resume() { process_->resume(); }

void PostgresServer::set_next_transaction(std::uint32_t id) {
  const auto [program, arguments] =
      as_postgres_user(programs() / "pg_resetwal", {"-x", std::to_string(id), "-D", folder_ / "data"});
  const auto done = run(program, arguments);
  if (done.exit != exited(0)) throw std::runtime_error("pg_resetwal failed: " + done.err);
  // It looks for what became of the transactions before, four to a byte.
  constexpr std::size_t segment_size = std::size_t{32} * 8192;
  std::ostringstream name;
  name << std::hex << std::uppercase << std::setw(4) << std::setfill('0') << id / (segment_size * 4);
  const auto segment = folder_ / ("data/pg_xact/" + name.str());
  std::ofstream{segment} << std::string(segment_size, '\0');
  give_to_postgres_user(segment);
}

void PostgresServer::end(int signal) {
  process_->kill(signal);
  process_->wait(30s);
}

std::string PostgresServer::url() const {
  return "postgresql://tidings@127.0.0.1:" + std::to_string(port()) + "/postgres";
}

std::string PostgresServer::log() const { return process_ ? process_->out() + process_->err() : ""; }

}  // namespace tidings::test
