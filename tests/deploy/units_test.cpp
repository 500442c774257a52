// The units of deploy/systemd: what systemd thinks of them, and what they start.

#include "support/catch.hpp"
#include "support/deployed_flow.hpp"
#include "support/deployed_nats.hpp"
#include "support/documented.hpp"
#include "support/temp_dir.hpp"
#include "support/unit_file.hpp"
#include "support/wait.hpp"

#include <httplib.h>

#include <csignal>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

using namespace tidings::test;

namespace {

std::filesystem::path systemd_folder() { return deploy_folder() / "systemd"; }

bool has_systemd() {
  try {
    return run("systemd-analyze", {"--version"}).exit == exited(0);
  } catch (const std::runtime_error&) {
    return false;
  }
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

/// A copy whose programs are those of this build, since systemd looks whether they are there.
std::string installed(const TempDir& folder, const std::string& unit) {
  const auto bin = executable("tidings").parent_path().string();
  std::ofstream{folder / unit} << replaced(text_of(systemd_folder() / unit), "/usr/local/bin", bin);
  return (folder / unit).string();
}

/// The command line of the unit, with the environment of its file and what differs on this machine.
Process start(const UnitFile& unit, const std::string& environment_file,
              const std::map<std::string, std::string>& of_this_machine) {
  auto words = unit.command_line();
  const std::filesystem::path program{words.front()};
  CHECK(program.parent_path() == "/usr/local/bin");
  words.erase(words.begin());
  std::ranges::replace(words, "127.0.0.1:8080", "127.0.0.1:0");  // another test may listen there
  CHECK(unit.values("EnvironmentFile").front() == "/etc/tidings/" + environment_file);
  auto environment = read_environment_file(systemd_folder() / environment_file);
  for (const auto& [name, value] : of_this_machine) {
    const auto entry = std::ranges::find(environment, name, &Environment::value_type::first);
    INFO(name);
    REQUIRE(entry != environment.end());  // what is not in the file would not be in production
    entry->second = value;
  }
  return Process{executable(program.filename().string()),
                 words,
                 {.environment = environment, .input = {}, .log_folder = {}}};
}

int kill_signal(const UnitFile& unit) {
  REQUIRE(unit.value("KillSignal") == "SIGTERM");
  return SIGTERM;
}

}  // namespace

TEST_CASE("systemd finds nothing wrong with the units, and little that they could do to the host") {
  if (!has_systemd()) {
    WARN("no systemd-analyze here: the units are not verified");
    return;
  }
  const TempDir folder;
  for (const auto* name :
       {"tidings-relay.service", "tidings-auth-service.service", "tidings-consumer@.service"}) {
    INFO(name);
    const auto unit = installed(folder, name);
    const auto verified = run("systemd-analyze", {"verify", "--man=no", unit});
    CHECK(verified.exit == exited(0));
    CHECK(verified.err == "");  // an unknown key is only told
    const auto secure = run("systemd-analyze", {"security", "--offline=true", "--threshold=20", unit});
    INFO(secure.out);
    CHECK(secure.exit == exited(0));
  }
}

TEST_CASE(
    "the units' command lines and environment files run relay and consumer on the cluster, and stop them") {
  const DeployedCluster cluster;
  const DeployedFlow flow{cluster.urls()};
  const UnitFile relay_unit{systemd_folder() / "tidings-relay.service"};
  const UnitFile consumer_unit{systemd_folder() / "tidings-consumer@.service"};
  auto relay = start(relay_unit, "relay.env",
                     {{"NATS_URL", cluster.urls()},
                      {"NATS_PASSWORD", relay_login().password},
                      {"DATABASE_URL", "sqlite:" + flow.auth_db()}});
  auto consumer = start(consumer_unit, "consumer.env",
                        {{"NATS_URL", cluster.urls()},
                         {"NATS_PASSWORD", mailer_login().password},
                         {"CONSUMER_DATABASE_URL", "sqlite:" + flow.inbox_db()}});
  flow.register_users(20);
  REQUIRE_WITHIN(30s, flow.emails() == 20);
  CHECK(sqlite::text(flow.inbox_db(), "SELECT DISTINCT instance FROM welcome_email") == "host-1");
  CHECK(cluster.client(operator_login()).stream_config("AUTH_EVENTS").at("num_replicas") == 3);

  relay.kill(kill_signal(relay_unit));
  consumer.kill(kill_signal(consumer_unit));
  for (auto* process : {&relay, &consumer}) CHECK(process->wait() == exited(0));
}

TEST_CASE("the auth service's unit registers users, publishes their events without a relay, and is stopped") {
  const DeployedCluster cluster;
  const DeployedFlow flow{cluster.urls()};
  const UnitFile unit{systemd_folder() / "tidings-auth-service.service"};
  auto service = start(unit, "auth-service.env",
                       {{"NATS_URL", cluster.urls()},
                        {"NATS_PASSWORD", relay_login().password},
                        {"DATABASE_URL", "sqlite:" + flow.auth_db()}});
  REQUIRE(service.wait_for_output("listening on 127.0.0.1:"));
  const auto text = service.out();
  const auto address = text.substr(text.find("127.0.0.1:"));
  httplib::Client client{"http://" + address.substr(0, address.find('\n'))};
  const auto answer =
      client.Post("/users", R"({"email":"ada@example.org","name":"Ada"})", "application/json");
  REQUIRE(answer);
  CHECK(answer->status == 201);
  REQUIRE_WITHIN(30s, flow.published() == 1);

  service.kill(kill_signal(unit));
  CHECK(service.wait() == exited(0));
}

TEST_CASE("a unit whose settings are wrong ends with the code that is not restarted") {
  const DeployedFlow flow{"nats://127.0.0.1:1"};
  const UnitFile relay_unit{systemd_folder() / "tidings-relay.service"};
  auto relay = start(relay_unit, "relay.env", {{"DATABASE_URL", "mysql://host/auth"}});
  const UnitFile consumer_unit{systemd_folder() / "tidings-consumer@.service"};
  auto consumer =
      start(consumer_unit, "consumer.env",
            {{"CONSUMER_GROUP", "no such group"}, {"CONSUMER_DATABASE_URL", "sqlite:" + flow.inbox_db()}});
  const UnitFile service_unit{systemd_folder() / "tidings-auth-service.service"};
  auto service = start(service_unit, "auth-service.env", {{"DATABASE_URL", "mysql://host/auth"}});
  for (auto* process : {&relay, &consumer, &service}) CHECK(process->wait() == exited(2));
  CHECK(relay_unit.value("RestartPreventExitStatus") == "2");
  CHECK(service_unit.value("RestartPreventExitStatus") == "2");
  CHECK(consumer_unit.value("RestartPreventExitStatus") == "2");
}

TEST_CASE("systemd waits longer than relay and consumer may take to drain") {
  for (const auto* name :
       {"tidings-relay.service", "tidings-auth-service.service", "tidings-consumer@.service"}) {
    const UnitFile unit{systemd_folder() / name};
    CHECK(unit.value("Restart") == "on-failure");
    CHECK(std::stoi(unit.value("TimeoutStopSec")) > 5 + 1 + 5);  // drain, flush, close
  }
}

TEST_CASE("every variable in the units' environment files is a setting of the README, with a user's login") {
  const auto documented = documented_settings();
  CHECK(documented.contains("NATS_INBOX_PREFIX"));
  for (const auto& [file, login] :
       {std::pair{"relay.env", relay_login()}, std::pair{"auth-service.env", relay_login()},
        std::pair{"consumer.env", mailer_login()}}) {
    const auto environment = read_environment_file(systemd_folder() / file, true);
    CHECK(environment.size() >= 8);
    std::map<std::string, std::string> values;
    for (const auto& [name, value] : environment) {
      INFO(file << ": " << name);
      CHECK(documented.contains(name));
      values[name] = value;
    }
    CHECK(values["NATS_USER"] == login.user);
    CHECK(values["NATS_INBOX_PREFIX"] == login.inbox_prefix);
  }
}
