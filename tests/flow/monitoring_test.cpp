// Health and metrics of real programs: through trouble, and against what the tables and streams hold.

#include "support/catch.hpp"
#include "support/programs.hpp"
#include "support/wait.hpp"

#include <tidings/database.hpp>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <csignal>
#include <string>

using namespace tidings::test;

namespace {

constexpr const char* anywhere = "127.0.0.1:0";
constexpr const char* emails = "SELECT count(*) FROM welcome_email";

/// What a program serves.
class Monitor {
 public:
  explicit Monitor(Process& process) {
    const std::string mark = "health and metrics at http://127.0.0.1:";
    REQUIRE(process.wait_for_output(mark));
    REQUIRE_WITHIN(5s, process.err().find('\n', process.err().find(mark)) != std::string::npos);
    const auto log = process.err();
    port_ = std::stoi(log.substr(log.find(mark) + mark.size()));
  }

  struct Answer {
    int status = 0;
    std::string body;
  };
  [[nodiscard]] Answer get(const std::string& path) const {
    httplib::Client client{"127.0.0.1", port_};
    const auto answer = client.Get(path);
    return answer ? Answer{answer->status, answer->body} : Answer{};
  }
  [[nodiscard]] bool refuses(const std::string& path, const std::string& because) const {
    const auto answer = get(path);
    return answer.status == 503 && answer.body.find(because) != std::string::npos;
  }
  /// A sample's value; -1 when there is none.
  [[nodiscard]] long sample(const std::string& name) const {
    const auto text = '\n' + get("/metrics").body;
    const auto at = text.find('\n' + name + ' ');
    return at == std::string::npos ? -1 : std::stol(text.substr(at + name.size() + 2));
  }

 private:
  int port_ = 0;
};

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
  CHECK(publishing.get("/readyz").status == 200);
  CHECK(consuming.get("/readyz").status == 200);
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
    const auto checked =
        run("promtool", {"check", "metrics"}, {.input = Monitor{*process}.get("/metrics").body});
    CHECK(checked.exit == exited(0));
    CHECK(checked.out + checked.err == "");
  }
}

TEST_CASE("health says that NATS is away, and that it is back") {
  Programs programs;
  auto relay = programs.start_relay({"--http", anywhere});
  auto consumer = programs.start_consumer({"--http", anywhere});
  const Monitor publishing{relay}, consuming{consumer};
  REQUIRE_WITHIN(20s, publishing.get("/readyz").status == 200 && consuming.get("/readyz").status == 200);
  programs.server.stop();
  REQUIRE_WITHIN(5s, publishing.refuses("/readyz", "waiting for broker: not connected"));
  REQUIRE_WITHIN(5s, consuming.refuses("/readyz", "NATS: not connected"));
  CHECK(publishing.get("/livez").status == 200);
  CHECK(consuming.get("/livez").status == 200);
  programs.server.start();
  REQUIRE_WITHIN(10s, publishing.get("/readyz").status == 200 && consuming.get("/readyz").status == 200);
}

TEST_CASE("a relay that stands by is ready, and says that it stands by") {
  Programs programs;
  auto active = programs.start_relay({"--http", anywhere});
  const Monitor first{active};
  REQUIRE_WITHIN(20s, first.sample("tidings_outbox_phase{phase=\"active\"}") == 1);
  auto standby = programs.start_relay({"--http", anywhere});
  const Monitor second{standby};
  REQUIRE_WITHIN(20s, second.sample("tidings_outbox_phase{phase=\"standby\"}") == 1);
  CHECK(second.get("/readyz").status == 200);
}

TEST_CASE("health says that the inbox is locked") {
  Programs programs;
  auto relay = programs.start_relay();
  auto consumer = programs.start_consumer({"--http", anywhere});
  const Monitor consuming{consumer};
  REQUIRE_WITHIN(20s, consuming.get("/readyz").status == 200);
  {
    const auto other = tidings::Database::open("sqlite:" + programs.inbox_db());
    const tidings::Transaction lock{*other};
    REQUIRE(programs.auth_service({"register", "--email", "ada@example.org", "--name", "Ada"}).exit ==
            exited(0));
    REQUIRE_WITHIN(5s, consuming.refuses("/readyz", "inbox"));
  }
  REQUIRE_WITHIN(10s, consuming.get("/readyz").status == 200);
}

TEST_CASE("nothing is served to others without a token") {
  Programs programs;
  auto relay = programs.start_relay({"--http", "0.0.0.0:0"});
  CHECK(relay.wait() == exited(2));
  CHECK_THAT(relay.err(), ContainsSubstring("set TIDINGS_HTTP_TOKEN"));
  auto consumer = programs.start_consumer({"--http", "0.0.0.0:0"});
  CHECK(consumer.wait() == exited(2));
}
