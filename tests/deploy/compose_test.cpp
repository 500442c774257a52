// deploy/compose.yaml, as far as it can be held against the rest without an engine to run it.

#include "support/catch.hpp"
#include "support/deployed_flow.hpp"
#include "support/deployed_nats.hpp"
#include "support/documented.hpp"
#include "support/nats_server.hpp"
#include "support/postgres_server.hpp"
#include "support/temp_dir.hpp"
#include "support/wait.hpp"

#include <tidings/postgres_connection.hpp>

#include <nlohmann/json.hpp>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

using namespace tidings::test;
using nlohmann::json;

namespace {

/// Empty, with a warning, where nothing can read YAML.
std::optional<json> composed() {
  const std::string script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
  try {
    if (run("python3", {"-c", "import yaml"}).exit == exited(0)) {
      const auto read = run("python3", {"-c", script, deploy_folder() / "compose.yaml"});
      INFO(read.err);
      REQUIRE(read.exit == exited(0));
      return json::parse(read.out);
    }
  } catch (const std::runtime_error&) {  // no python3
  }
  WARN("no python3 with yaml here: compose.yaml is not looked at");
  return std::nullopt;
}

std::set<std::string> found_in(const std::string& text, const std::string& pattern) {
  const std::regex expression{pattern};
  std::set<std::string> found;
  for (std::sregex_iterator match{text.begin(), text.end(), expression}, end; match != end; ++match)
    found.insert((*match)[1]);
  return found;
}

std::set<std::string> names(const json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

bool is_ours(const json& service) { return service.at("image") == "tidings"; }

/// The indented or fenced commands of deploy/README.md that contain `text`.
std::string readme_commands(const std::string& text) {
  const auto readme = text_of(deploy_folder() / "README.md");
  for (std::size_t begin = readme.find("```sh\n"); begin != std::string::npos;) {
    const auto end = readme.find("```", begin + 6);
    const auto block = readme.substr(begin + 6, end - begin - 6);
    if (block.find(text) != std::string::npos) return block;
    begin = readme.find("```sh\n", end + 3);
  }
  throw std::runtime_error("deploy/README.md has no commands with " + text);
}

Finished shell(const std::string& commands, const std::filesystem::path& folder,
               const Environment& environment = {}) {
  return run("sh", {"-euc", "cd '" + folder.string() + "'\n" + commands},
             {.environment = environment, .input = {}, .log_folder = {}});
}

/// What the README's commands write into deploy/.env.
Environment made_passwords(const TempDir& folder) {
  std::filesystem::create_directory(folder / "deploy");
  const auto made = shell(readme_commands("openssl rand"), folder.path());
  INFO(made.err);
  REQUIRE(made.exit == exited(0));
  Environment passwords;
  const auto file = folder / "deploy" / ".env";
  CHECK((std::filesystem::status(file).permissions() & std::filesystem::perms::others_all) ==
        std::filesystem::perms::none);
  std::istringstream lines{text_of(file)};
  for (std::string line; std::getline(lines, line);)
    passwords.emplace_back(line.substr(0, line.find('=')), line.substr(line.find('=') + 1));
  return passwords;
}

}  // namespace

TEST_CASE(
    "the compose file has three servers, a database, two relays and three consumers, and nothing unknown") {
  const auto compose = composed();
  if (!compose) return;
  const auto& services = compose->at("services");
  CHECK(names(services) == std::set<std::string>{"nats-1", "nats-2", "nats-3", "postgres", "migrate",
                                                 "relay-1", "relay-2", "consumer-1", "consumer-2",
                                                 "consumer-3"});
  for (const auto& [name, service] : services.items()) {
    INFO(name);
    const auto needed = service.value("depends_on", json::object());
    for (const auto& [other, condition] : needed.items()) {
      CHECK(services.contains(other));
      if (condition.at("condition") == "service_healthy") CHECK(services.at(other).contains("healthcheck"));
    }
    for (const auto& volume : service.value("volumes", json::array())) {
      const auto source = volume.get<std::string>().substr(0, volume.get<std::string>().find(':'));
      INFO(source);
      CHECK((source.starts_with("./") ? std::filesystem::exists(deploy_folder() / source)
                                      : compose->at("volumes").contains(source)));
    }
    for (const auto& port : service.value("ports", json::array()))
      CHECK(port.get<std::string>().starts_with("127.0.0.1:"));
  }
}

TEST_CASE("what is to run comes back after a stop of the daemon, in order or not; a migration does not") {
  const auto compose = composed();
  if (!compose) return;
  for (const auto& [name, service] : compose->at("services").items()) {
    INFO(name);
    CHECK(service.at("restart") == (name == "migrate" ? "on-failure" : "unless-stopped"));
  }
}

TEST_CASE("every variable and flag that the compose file gives our programs is documented") {
  const auto compose = composed();
  if (!compose) return;
  const auto settings = documented_settings();
  int ours = 0;
  for (const auto& [name, service] : compose->at("services").items()) {
    if (!is_ours(service)) continue;
    ++ours;
    for (const auto& variable : names(service.at("environment"))) {
      INFO(name << ": " << variable);
      CHECK(settings.contains(variable));
    }
    const auto command = service.at("command").get<std::vector<std::string>>();
    const auto flags = documented_flags(command);
    for (const auto& word : command) {
      INFO(name << ": " << word);
      if (word.starts_with("--")) CHECK(flags.contains(word));
    }
    if (!service.at("environment").contains("NATS_USER")) continue;
    const auto user = service.at("environment").at("NATS_USER").get<std::string>();
    for (const auto& login : {relay_login(), mailer_login()})
      if (login.user == user) CHECK(service.at("environment").at("NATS_INBOX_PREFIX") == login.inbox_prefix);
  }
  CHECK(ours == 6);
}

TEST_CASE("the compose file gives NATS's servers exactly the variables that their configuration asks for") {
  const auto compose = composed();
  if (!compose) return;
  const auto nats = deploy_folder() / "nats";
  const auto asked =
      found_in(text_of(nats / "cluster.conf") + text_of(nats / "accounts.conf"), R"(: \$([A-Z_]+))");
  CHECK(asked.size() == 11);
  for (const auto* name : {"nats-1", "nats-2", "nats-3"}) {
    const auto& environment = compose->at("services").at(name).at("environment");
    CHECK(names(environment) == asked);
    CHECK(environment.at("NATS_NAME") == name);
  }
}

TEST_CASE("the README's commands make every password that the compose file takes, and no other") {
  const TempDir folder;
  std::set<std::string> made;
  for (const auto& [name, password] : made_passwords(folder)) {
    made.insert(name);
    CHECK(std::regex_match(password, std::regex{"p[0-9a-f]{32}"}));
  }
  CHECK(made == found_in(text_of(deploy_folder() / "compose.yaml"), R"(\$\{([A-Z_]+):\?\})"));
}

TEST_CASE("the README's commands start three servers that are a cluster") {
  const TempDir folder;
  (void)made_passwords(folder);
  std::filesystem::copy(deploy_folder() / "nats", folder / "deploy" / "nats");
  // Ports of the test's own; else as written, but that the servers are only asked whether they would start.
  const auto commands = std::regex_replace(readme_commands("nats-server --config"),
                                           std::regex{"cluster.conf &"}, "cluster.conf -t");
  const auto checked = shell("PATH=$PATH:/usr/sbin\n" + commands, folder.path());
  INFO(checked.err);
  CHECK(checked.exit == exited(0));
  CHECK(found_in(checked.err, "(is valid)").size() == 1);
}

TEST_CASE("the script for PostgreSQL gives each side a database of its own, closed to the other") {
  const PostgresServer postgres;
  const auto url = [&postgres](const std::string& user, const std::string& database) {
    return "postgresql://" + user + ":p@127.0.0.1:" + std::to_string(postgres.port()) + "/" + database;
  };
  const std::string admin = postgres.url().substr(std::string{"postgresql://"}.size());
  const auto user = admin.substr(0, admin.find_first_of("@:"));
  const auto made = run(deploy_folder() / "postgres" / "databases.sh", {},
                        {.environment = {{"PGHOST", "127.0.0.1"},
                                         {"PGPORT", std::to_string(postgres.port())},
                                         {"POSTGRES_USER", user},
                                         {"AUTH_DATABASE_PASSWORD", "p'1"},
                                         {"WELCOME_DATABASE_PASSWORD", "p2"}},
                         .input = {},
                         .log_folder = {}});
  INFO(made.err);
  REQUIRE(made.exit == exited(0));
  for (const auto* own : {"auth", "welcome"}) {
    tidings::PostgresConnection database{url(own, own)};
    database.connect();
    CHECK_NOTHROW(database.exec("CREATE TABLE mine(id text)"));
  }
  tidings::PostgresConnection others{url("welcome", "auth")};
  CHECK_THROWS_WITH(others.connect(), ContainsSubstring("permission denied"));
}

TEST_CASE("a relay's health check succeeds while the outbox has an active relay, and not without") {
  const auto compose = composed();
  if (!compose) return;
  const auto check = compose->at("services").at("relay-1").at("healthcheck").at("test");
  REQUIRE(check.at(0) == "CMD-SHELL");
  NatsServer server{
      {.config = accounts_with_passwords(), .arguments = {}, .jetstream = true, .monitoring = false}};
  const DeployedFlow flow{server.url()};
  const auto healthy = [&] {
    return run("sh",
               {"-c", "PATH=" + executable("tidings").parent_path().string() + ":$PATH; " +
                          check.at(1).get<std::string>()},
               {.environment = {{"DATABASE_URL", "sqlite:" + flow.auth_db()}}, .input = {}, .log_folder = {}})
               .exit == exited(0);
  };
  CHECK_FALSE(healthy());
  auto relay = flow.start_relay();
  REQUIRE_WITHIN(20s, healthy());
  relay.kill(SIGTERM);
  REQUIRE(relay.wait() == exited(0));
  CHECK_FALSE(healthy());
}

TEST_CASE("the image has the libraries that the programs are linked with") {
  std::ifstream release{"/etc/os-release"};
  const std::string system{std::istreambuf_iterator<char>{release}, {}};
  if (system.find("bookworm") == std::string::npos) {
    WARN("not Debian 12: the names of its packages are not known here");
    return;
  }
  const auto dockerfile = text_of(deploy_folder() / "Dockerfile");
  const auto installed = dockerfile.substr(dockerfile.find("FROM debian:12-slim"));
  for (const auto* program : {"auth-service", "tidings", "consumer-example"}) {
    const auto linked = run("sh", {"-c", "objdump -p '" + executable(program).string() +
                                             "' | sed -n 's/.*NEEDED *//p' | grep -Ev "
                                             "'^lib(c|m|stdc[+][+]|gcc_s|asan|ubsan|tsan)[.]so'"});
    REQUIRE(linked.exit == exited(0));
    for (const auto& library : found_in(linked.out, "([^\n]+)")) {
      const auto owner = run("sh", {"-c", "dpkg -S '*/" + library + "' | sed 's/:.*//' | sort -u"});
      const auto packages = found_in(owner.out, "([^\n]+)");
      INFO(program << " needs " << library << " of " << owner.out);
      CHECK(std::ranges::any_of(packages, [&](const auto& package) {
        return installed.find(" " + package + " ") != std::string::npos;
      }));
    }
  }
}
