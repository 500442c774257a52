#include "support/nats_server.hpp"

#include "support/wait.hpp"

#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace tidings::test {
namespace {

std::filesystem::path program() {
  const char* chosen = std::getenv("TIDINGS_NATS_SERVER");
  return chosen != nullptr && *chosen != '\0' ? chosen : "nats-server";
}

}  // namespace

NatsServer::NatsServer(NatsServerOptions options) : options_(std::move(options)) {
  if (!options_.config.empty()) std::ofstream{folder_ / "server.conf"} << options_.config;
  start();
}

void NatsServer::start() {
  if (process_ && process_->running()) throw std::logic_error("nats-server runs already");
  std::vector<std::string> arguments{
      "-a", address(), "-p", std::to_string(port()), "-l", folder_ / "server.log"};
  const auto add = [&arguments](const std::vector<std::string>& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
  };
  if (options_.jetstream) add({"-js", "-sd", folder_ / "store"});
  if (options_.monitoring) add({"-m", std::to_string(monitoring_port_.number())});
  if (!options_.config.empty()) add({"-c", folder_ / "server.conf"});
  add(options_.arguments);

  process_.emplace(program(), arguments,
                   ProcessOptions{.log_folder = folder_.path(), .network = options_.host.network});
  bool ready = false;
  // JetStream has recovered its store before the server accepts a client.
  const bool decided = eventually(20s, [&] {
    ready = greeting(port(), address()).starts_with("INFO ");
    return ready || !process_->running();
  });
  if (!ready)
    throw std::runtime_error(std::string("nats-server ") + (decided ? "ended" : "did not answer in 20 s") +
                             " at its start:\n" + process_->err() + log());
}

void NatsServer::stop() { end(SIGTERM); }
void NatsServer::kill() { end(SIGKILL); }
void NatsServer::pause() { process_->pause(); }
void NatsServer::resume() { process_->resume(); }

void NatsServer::reload(const std::string& config) {
  if (options_.config.empty()) throw std::logic_error("nats-server began without a configuration");
  options_.config = config;
  std::ofstream{folder_ / "server.conf"} << config;
  process_->kill(SIGHUP);
}

void NatsServer::end(int signal) {
  process_->kill(signal);
  process_->wait(20s);  // the exit code of a SIGTERM differs between versions
}

std::string NatsServer::url() const { return "nats://" + address() + ":" + std::to_string(port()); }
std::string NatsServer::monitoring_url() const {
  return "http://" + address() + ":" + std::to_string(monitoring_port_.number());
}

std::string NatsServer::log() const {
  std::ifstream file{folder_ / "server.log"};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace tidings::test
