// Health and metrics of real programs, against what the tables and streams hold and what is documented.

#include "support/catch.hpp"
#include "support/monitored.hpp"
#include "support/programs.hpp"
#include "support/wait.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <string>

using namespace tidings::test;
using nlohmann::json;

namespace {

constexpr const char* anywhere = "127.0.0.1:0";
constexpr const char* emails = "SELECT count(*) FROM welcome_email";

/// What of `value` is not as the OpenAPI `schema` has it; empty when all is.
std::string difference(const json& value, const json& schema, const std::string& at) {
  const std::string type = schema.at("type");
  const bool fits = type == "object"    ? value.is_object()
                    : type == "array"   ? value.is_array()
                    : type == "string"  ? value.is_string()
                    : type == "boolean" ? value.is_boolean()
                                        : type == "integer" && value.is_number_integer();
  if (!fits) return at + " is no " + type;
  if (schema.contains("enum") && std::ranges::find(schema["enum"], value) == schema["enum"].end())
    return at + " is " + value.dump();
  if (type == "array")
    for (const auto& item : value)
      if (auto wrong = difference(item, schema["items"], at + "[]"); !wrong.empty()) return wrong;
  if (type != "object") return {};
  for (const std::string name : schema.value("required", json::array()))
    if (!value.contains(name)) return at + '.' + name + " is missing";
  for (const auto& [name, member] : value.items()) {
    if (!schema["properties"].contains(name)) return at + '.' + name + " is not described";
    if (auto wrong = difference(member, schema["properties"][name], at + '.' + name); !wrong.empty())
      return wrong;
  }
  return {};
}

/// The same for all answers of a program.
std::string difference(const Monitor& monitor) {
  const auto paths = json::parse(std::ifstream{TIDINGS_SOURCE_DIR "/docs/openapi.json"}).at("paths");
  for (const auto& [path, operations] : paths.items()) {
    const auto answer = monitor.get(path);
    const auto& described = operations.at("get").at("responses").at(std::to_string(answer.status));
    if (!described.at("content").contains("application/json")) continue;
    const auto& schema = described["content"]["application/json"].at("schema");
    if (auto wrong = difference(json::parse(answer.body), schema, path); !wrong.empty()) return wrong;
  }
  return {};
}

}  // namespace

TEST_CASE("metrics are what the tables and streams hold") {
  Programs programs;
  auto relay = programs.start_relay({"--http", anywhere});
  auto consumer = programs.start_consumer({"--http", anywhere});
  const Monitor publishing{relay}, consuming{consumer};
  REQUIRE(programs.auth_service({"register", "--from", "-"}, user_lines(50)).exit == exited(0));
  REQUIRE_WITHIN(30s, programs.in_inbox(emails) == 50);
  REQUIRE_WITHIN(10s, publishing.sample("tidings_outbox_published_total{type=\"user.created\"}") == 50);
  const std::string labels = "{group=\"welcome-mailer\",type=\"user.created\"}";
  REQUIRE_WITHIN(10s, consuming.sample("tidings_consumer_handled_total" + labels) == 50);
  CHECK(consuming.sample("tidings_consumer_duplicates_total{group=\"welcome-mailer\"}") == 0);
  CHECK(consuming.sample("tidings_consumer_dead_lettered_total" + labels) == 0);
  REQUIRE_WITHIN(10s, publishing.sample("tidings_outbox_oldest_pending_age_seconds") == 0);
  CHECK(publishing.ready());
  CHECK(consuming.ready());
  CHECK(consuming.get("/metrics").body.find('@') == std::string::npos);
}

TEST_CASE("Prometheus's own checker finds nothing wrong with the metrics") {
  if (run("sh", {"-c", "command -v promtool"}).exit != exited(0)) {
    WARN("without promtool (scripts/setup --metrics) this tests nothing");
    return;
  }
  Programs programs;
  auto relay = programs.start_relay({"--http", anywhere});
  auto consumer = programs.start_consumer({"--http", anywhere});
  for (auto* const process : {&relay, &consumer}) {
    const auto metrics = Monitor{*process}.get("/metrics").body;
    REQUIRE_FALSE(metrics.empty());
    const auto checked = run("promtool", {"check", "metrics"}, {.input = metrics});
    CHECK(checked.exit == exited(0));
    CHECK(checked.out + checked.err == "");
  }
}

TEST_CASE("answers are as docs/openapi.json describes them") {
  Programs programs;
  auto relay = programs.start_relay({"--http", anywhere});
  auto consumer = programs.start_consumer({"--http", anywhere});
  auto serving = programs.start_serving();
  const Monitor publishing{relay}, consuming{consumer}, registering{serving, "listening on 127.0.0.1:"};
  const auto all = [&](auto&& holds) { return holds(publishing) && holds(consuming) && holds(registering); };
  REQUIRE_WITHIN(20s, all([](const Monitor& monitor) { return monitor.ready(); }));
  REQUIRE(programs.auth_service({"register", "--from", "-"}, user_lines(5)).exit == exited(0));
  REQUIRE_WITHIN(20s, programs.in_inbox(emails) == 5);
  CHECK(difference(publishing) == "");
  CHECK(difference(consuming) == "");
  CHECK(difference(registering) == "");
  programs.server.stop();
  REQUIRE_WITHIN(10s, all([](const Monitor& monitor) { return !monitor.ready(); }));
  CHECK(difference(publishing) == "");
  CHECK(difference(consuming) == "");
  CHECK(difference(registering) == "");
}

TEST_CASE("nothing is served to others without a token") {
  Programs programs;
  auto relay = programs.start_relay({"--http", "0.0.0.0:0"});
  CHECK(relay.wait() == exited(2));
  CHECK_THAT(relay.err(), ContainsSubstring("set TIDINGS_HTTP_TOKEN"));
  auto consumer = programs.start_consumer({"--http", "0.0.0.0:0"});
  CHECK(consumer.wait() == exited(2));
  CHECK_THAT(consumer.err(), ContainsSubstring("set TIDINGS_HTTP_TOKEN"));
}
