#include "support/pgbouncer.hpp"

#include "support/postgres_user.hpp"
#include "support/wait.hpp"

#include <sys/socket.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace tidings::test {

namespace fs = std::filesystem;

namespace {

/// Debian's place for it is off the PATH of ordinary users.
fs::path find_pgbouncer() {
  const fs::path debian = "/usr/sbin/pgbouncer";
  return fs::exists(debian) ? debian : fs::path{"pgbouncer"};
}

}  // namespace

PgBouncer::PgBouncer(const PostgresServer& server, const PgBouncerOptions& options) {
  fs::permissions(folder_.path(), fs::perms::others_exec | fs::perms::group_exec, fs::perm_options::add);
  std::ofstream{folder_ / "pgbouncer.ini"} << "[databases]\npostgres = host=127.0.0.1 port=" << server.port()
                                           << " user=tidings\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
                                           << "listen_port = " << port_.number() << "\nunix_socket_dir =\n"
                                           << "auth_type = any\npool_mode = " << options.mode
                                           << "\ndefault_pool_size = " << options.sessions
                                           << "\nserver_login_retry = 1\n"
                                           << options.settings;
  fs::permissions(folder_ / "pgbouncer.ini", fs::perms::others_read, fs::perm_options::add);
  start();
}

void PgBouncer::start() {
  const auto [program, arguments] = as_postgres_user(find_pgbouncer(), {folder_ / "pgbouncer.ini"});
  process_.emplace(program, arguments, ProcessOptions{.log_folder = folder_.path()});
  // The port is bound before by us: that it listens is seen by connecting.
  const auto listens = [this] {
    const auto socket = start_connecting(port_.number());
    return eventually(100ms, [&] { return ::send(socket.get(), "", 0, MSG_NOSIGNAL) == 0; });
  };
  bool up = false;
  (void)eventually(30s, [&] {
    up = listens();
    return up || !process_->running();
  });
  if (!up) throw std::runtime_error("PgBouncer did not come up:\n" + log());
}

void PgBouncer::kill() {
  process_->kill(SIGKILL);
  process_->wait(30s);
}

std::string PgBouncer::url() const {
  return "postgresql://tidings@127.0.0.1:" + std::to_string(port_.number()) + "/postgres";
}

std::string PgBouncer::log() const { return process_ ? process_->out() + process_->err() : ""; }

}  // namespace tidings::test
