#include "support/catch.hpp"
#include "support/programs.hpp"
#include "support/wait.hpp"

#include <httplib.h>
#include <nlohmann/json.hpp>

#include <csignal>

using namespace tidings::test;

namespace {

constexpr const char* emails = "SELECT count(*) FROM welcome_email";
constexpr const char* published = "SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'";

}  // namespace

TEST_CASE("registered users are published, and handled once each by a group") {
  Programs programs;
  auto relay = programs.start_relay();
  auto one = programs.start_consumer({"--instance", "one"});
  auto two = programs.start_consumer({"--instance", "two"});
  const auto registered = programs.auth_service({"register", "--from", "-"}, user_lines(300));
  REQUIRE(registered.exit == exited(0));
  REQUIRE_WITHIN(30s, programs.in_inbox(emails) == 300);
  REQUIRE_WITHIN(10s, programs.in_auth(published) == 300);
  CHECK(programs.in_inbox("SELECT count(DISTINCT user_id) FROM welcome_email") == 300);
  CHECK(programs.in_inbox("SELECT count(*) FROM welcome_email WHERE name LIKE 'Zoë %'") == 300);
  CHECK(programs.jetstream.message_count("AUTH_DLQ") == 0);
  for (auto* process : {&relay, &one, &two}) {
    process->kill(SIGTERM);
    CHECK(process->wait() == exited(0));
  }
}

TEST_CASE("processor and consumer killed at random moments: effects are users, nothing is lost or inverted") {
  constexpr int users = 2000;
  Programs programs;
  auto registering = programs.start_registering(user_lines(users));
  auto relay = programs.start_relay();
  auto consumer = programs.start_consumer();
  for (std::int64_t mark = 40, kills = 0; kills < 12 && programs.in_inbox(emails) < users;
       ++kills, mark += 90) {
    REQUIRE_WITHIN(60s, programs.in_inbox(emails) >= std::min<std::int64_t>(mark, users));
    auto& victim = kills % 2 == 0 ? relay : consumer;
    victim.kill(SIGKILL);
    REQUIRE(victim.wait() == killed_by(SIGKILL));
    victim = kills % 2 == 0 ? programs.start_relay() : programs.start_consumer();
  }
  REQUIRE(registering.wait(60s) == exited(0));
  REQUIRE_WITHIN(60s, programs.in_inbox(emails) == users);
  REQUIRE_WITHIN(30s, programs.in_auth(published) == users);

  CHECK(programs.in_auth("SELECT count(*) FROM user") == users);
  CHECK(programs.in_inbox("SELECT count(*) FROM inbox") == users);
  CHECK(programs.in_inbox("SELECT count(DISTINCT user_id) FROM welcome_email") == users);
  const auto stream = programs.jetstream.messages("AUTH_EVENTS");
  const auto committed = sqlite::column(programs.auth_db(), "SELECT id FROM outbox_event ORDER BY rowid");
  REQUIRE(stream.size() == users);
  for (std::size_t i = 0; i < stream.size(); ++i) CHECK(stream[i].header("ce-id") == committed[i]);
  CHECK(programs.jetstream.message_count("AUTH_DLQ") == 0);
  CHECK(consumer.out().find("\"attempt\":6") == std::string::npos);
}

TEST_CASE("users that were registered while NATS was away arrive when it is back") {
  Programs programs;
  programs.server.kill();
  auto relay = programs.start_relay();
  auto consumer = programs.start_consumer();
  REQUIRE(programs.auth_service({"register", "--from", "-"}, user_lines(50)).exit == exited(0));
  CHECK(programs.in_auth("SELECT count(*) FROM outbox_event WHERE status = 'PENDING'") == 50);
  programs.server.start();
  REQUIRE_WITHIN(20s, programs.in_inbox(emails) == 50);
  CHECK(programs.in_auth("SELECT count(*) FROM outbox_event WHERE retryCount > 0") == 0);
}

TEST_CASE("the HTTP service registers a user, and its own processor publishes the event") {
  Programs programs;
  auto service = programs.start_serving();
  auto consumer = programs.start_consumer();
  REQUIRE(service.wait_for_output("listening on 127.0.0.1:"));
  const auto line = service.out();
  const int port = std::stoi(line.substr(line.find("127.0.0.1:") + 10));
  httplib::Client client{"127.0.0.1", port};
  const std::string ada = R"({"email":"ada@example.org","name":"Ada"})";
  const auto created = client.Post("/users", ada, "application/json");
  REQUIRE(created);
  REQUIRE(created->status == 201);
  REQUIRE_WITHIN(20s, programs.in_inbox(emails) == 1);
  CHECK(sqlite::text(programs.inbox_db(), "SELECT user_id FROM welcome_email") ==
        nlohmann::json::parse(created->body).at("id").get<std::string>());
  CHECK(client.Post("/users", ada, "application/json")->status == 409);
  CHECK(client.Post("/users", R"({"email":"nobody","name":"N"})", "application/json")->status == 400);
  CHECK(client.Get("/health")->status == 200);
  service.kill(SIGTERM);
  CHECK(service.wait() == exited(0));
}
