#pragma once

// `tidings doctor` asked about an outbox, a server and a stream of a test.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/process.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

using nlohmann::json;

struct Diagnosis {
  Exit exit;
  std::map<std::string, json> checks;
  std::string err;

  /// `ok`, `warning`, `failed`, `skipped`; empty when there is no such check.
  [[nodiscard]] std::string outcome(const std::string& check) const {
    return checks.contains(check) ? checks.at(check).at("outcome").get<std::string>() : "";
  }
  [[nodiscard]] std::string detail(const std::string& check) const { return checks.at(check).at("detail"); }
  [[nodiscard]] std::string fix(const std::string& check) const {
    const auto& fix = checks.at(check).at("fix");
    return fix.is_string() ? fix.get<std::string>() : "";
  }
  [[nodiscard]] std::vector<std::string> failed() const {
    std::vector<std::string> names;
    for (const auto& [name, check] : checks)
      if (check.at("outcome") == "failed") names.push_back(name);
    return names;
  }
};

using Settings = std::vector<std::pair<std::string, std::string>>;

struct Clinic {
  /// `login` is that of the test itself: `user:password@`.
  explicit Clinic(Engine engine, NatsServerOptions options = {}, const std::string& login = {})
      : server(std::move(options)), jetstream(url(login)), outbox(engine) {}

  [[nodiscard]] std::string url(const std::string& login) const {
    return "nats://" + login + "127.0.0.1:" + std::to_string(server.port());
  }

  [[nodiscard]] Finished ask(const std::vector<std::string>& more = {}, const Settings& settings = {}) const {
    std::vector<std::string> arguments{"doctor"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProcessOptions with{.environment = {{"NATS_URL", server.url()}, {"DATABASE_URL", outbox.url()}},
                        .input = {},
                        .log_folder = {}};
    for (const auto& [name, value] : settings) {
      std::erase_if(with.environment, [&name](const auto& given) { return given.first == name; });
      with.environment.emplace_back(name, value);
    }
    return run(executable("tidings"), arguments, with);
  }

  [[nodiscard]] Diagnosis diagnose(std::vector<std::string> more = {}, const Settings& settings = {}) const {
    more.emplace_back("--json");
    const auto finished = ask(more, settings);
    Diagnosis diagnosis{.exit = finished.exit, .checks = {}, .err = finished.err};
    UNSCOPED_INFO(finished.out << finished.err);
    std::istringstream lines{finished.out};
    for (std::string line; std::getline(lines, line);) {
      const auto check = json::parse(line);
      diagnosis.checks[check.at("check")] = check;
    }
    return diagnosis;
  }

  void add_stream(const json& config = json::object()) {
    jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, config);
  }

  NatsServer server;
  JetStream jetstream;
  Outbox outbox;
};

}  // namespace tidings::test
