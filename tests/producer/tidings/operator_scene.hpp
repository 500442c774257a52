#pragma once

// A stream of events, groups that fail some of them, and the command that an operator types.

#include "support/consuming.hpp"
#include "support/process.hpp"

#include <nlohmann/json.hpp>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct OperatorScene : Scene {
  using Scene::Scene;

  Finished tidings(const std::vector<std::string>& arguments, const std::string& input = {},
                   const std::string& login = {}) {
    const auto url = "nats://" + login + "127.0.0.1:" + std::to_string(server.port());
    return run(executable("tidings"), arguments, {.environment = {{"NATS_URL", url}}, .input = input});
  }

  /// What it prints with --json, which must succeed.
  std::vector<nlohmann::json> json(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const auto finished = tidings(arguments);
    INFO(finished.err);
    REQUIRE(finished.exit == exited(0));
    return lines(finished.out);
  }

  static std::vector<nlohmann::json> lines(const std::string& text) {
    std::vector<nlohmann::json> objects;
    std::istringstream in{text};
    for (std::string line; std::getline(in, line);) objects.push_back(nlohmann::json::parse(line));
    return objects;
  }

  /// As consumers write it; `headers` come first and win.
  PublishAck letter(const std::string& id, const std::string& key, std::uint64_t original,
                    HeaderList headers = {}, const std::string& data = "{}",
                    const std::string& reason = "mail server down") {
    const auto add = [&headers](const char* name, const std::string& value) {
      for (const auto& [its_name, its_value] : headers)
        if (its_name == name) return;
      headers.emplace_back(name, value);
    };
    add("Nats-Msg-Id", "AUTH_EVENTS:mailer:" + std::to_string(original) + ":1");
    add("ce-specversion", "1.0");
    add("ce-id", id);
    add("ce-type", "user.created");
    add("ce-subject", key);
    add("ce-aggregatetype", "User");
    add("tidings-reason", reason);
    add("tidings-attempts", "5");
    add("tidings-original-subject", "auth.events.user.created");
    add("tidings-original-stream", "AUTH_EVENTS");
    add("tidings-original-sequence", std::to_string(original));
    add("tidings-group", "mailer");
    add("tidings-failed-at", "2026-01-31T08:15:00.000Z");
    add("tidings-original-id", id);
    std::erase_if(headers, [](const auto& entry) { return entry.second.empty(); });
    return js.publish("auth.dlq.mailer.user.created", data, headers);
  }

  void add_letters_stream() { js.add_stream("AUTH_DLQ", {"auth.dlq.>"}); }
  void add_group(const std::string& group = "mailer") {
    js.add_consumer("AUTH_EVENTS", group, {{"filter_subject", "auth.events.>"}});
  }

  /// The ids in the stream of events, by sequence.
  std::vector<std::string> ids_in_stream() {
    std::vector<std::string> ids;
    for (const auto& message : js.messages("AUTH_EVENTS")) ids.push_back(message.header("ce-id"));
    return ids;
  }
};

}  // namespace tidings::test
