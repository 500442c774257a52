#include "support/deployed_nats.hpp"

#include "support/wait.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace tidings::test {
namespace {

std::string loopback(const ReservedPort& port) { return "127.0.0.1:" + std::to_string(port.number()); }

std::filesystem::path server_program() {
  const char* chosen = std::getenv("TIDINGS_NATS_SERVER");
  return chosen != nullptr && *chosen != '\0' ? chosen : "nats-server";
}

Environment passwords() {
  return {{"NATS_RELAY_PASSWORD", relay_login().password},
          {"NATS_MAILER_PASSWORD", mailer_login().password},
          {"NATS_OPERATOR_PASSWORD", operator_login().password},
          {"NATS_MONITOR_PASSWORD", monitor_login().password}};
}

}  // namespace

std::filesystem::path deploy_folder() { return std::filesystem::path{TIDINGS_SOURCE_DIR} / "deploy"; }

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file{path};
  if (!file) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>{file}, {}};
}

std::string Login::url(int port) const {
  return "nats://" + user + ":" + password + "@127.0.0.1:" + std::to_string(port);
}

Environment Login::settings() const {
  return {{"NATS_USER", user}, {"NATS_PASSWORD", password}, {"NATS_INBOX_PREFIX", inbox_prefix}};
}

Login relay_login() { return {"relay", "r1-of-the-test", "_INBOX_relay"}; }
Login mailer_login() { return {"welcome-mailer", "m2-of-the-test", "_INBOX_welcome-mailer"}; }
Login operator_login() { return {"operator", "o3-of-the-test", "_INBOX_operator"}; }
Login monitor_login() { return {"monitor", "s4-of-the-test", "_INBOX_monitor"}; }

std::string accounts_with_passwords() {
  auto text = text_of(deploy_folder() / "nats" / "accounts.conf");
  for (const auto& [variable, password] : passwords()) {
    const auto reference = "password: $" + variable;
    text.replace(text.find(reference), reference.size(), "password: \"" + password + "\"");
  }
  return text;
}

DeployedCluster::DeployedCluster() {
  for (std::size_t i = 0; i < size; ++i)
    servers_.at(i).emplace(server_program(),
                           std::vector<std::string>{"-c", deploy_folder() / "nats" / "cluster.conf"},
                           ProcessOptions{.environment = variables(i), .input = {}, .log_folder = {}});
  const bool there = eventually(30s, [this] {
    try {
      return client(operator_login(), 500ms).api("STREAM.NAMES").contains("total");
    } catch (const std::runtime_error&) {  // no server, or no leader
      return false;
    }
  });
  if (!there) throw std::runtime_error("deploy's cluster has no JetStream after 30 s:\n" + log());
}

Environment DeployedCluster::variables(std::size_t index) const {
  std::string routes;
  for (const auto& route : routes_)
    routes += (routes.empty() ? "" : ", ") + ("nats-route://route:c5-of-the-test@" + loopback(route));
  auto variables = passwords();
  const std::string name = "nats-" + std::to_string(index + 1);
  variables.insert(variables.end(), {{"NATS_NAME", name},
                                     {"NATS_LISTEN", loopback(clients_.at(index))},
                                     {"NATS_HTTP", loopback(monitoring_.at(index))},
                                     {"NATS_STORE", (folder_ / name).string()},
                                     {"NATS_ROUTE_LISTEN", loopback(routes_.at(index))},
                                     {"NATS_ROUTES", "[" + routes + "]"},
                                     {"NATS_ROUTE_PASSWORD", "c5-of-the-test"}});
  return variables;
}

std::string DeployedCluster::urls() const {
  std::string urls;
  for (const auto& port : clients_) urls += (urls.empty() ? "nats://" : ",nats://") + loopback(port);
  return urls;
}

std::string DeployedCluster::monitoring_url() const { return "http://" + loopback(monitoring_.front()); }

JetStream DeployedCluster::client(const Login& login, std::chrono::milliseconds timeout) const {
  return JetStream{login.url(port()), timeout, login.inbox_prefix};
}

bool DeployedCluster::has_stream(const std::string& stream) const {
  try {
    return client(operator_login(), 500ms).has_stream(stream);
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::string DeployedCluster::log() const {
  std::string log;
  for (const auto& server : servers_)
    if (server) log += server->err() + "\n";
  return log;
}

}  // namespace tidings::test
