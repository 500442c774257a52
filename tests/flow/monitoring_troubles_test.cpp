// What health says of real programs in trouble: soon, and by its cause.

#include "support/catch.hpp"
#include "support/monitored.hpp"
#include "support/programs.hpp"
#include "support/wait.hpp"

#include <tidings/database.hpp>

#include <string>

using namespace tidings::test;

namespace {

constexpr const char* anywhere = "127.0.0.1:0";

bool registered(Programs& programs) {
  return programs.auth_service({"register", "--email", "ada@example.org", "--name", "Ada"}).exit == exited(0);
}

}  // namespace

TEST_CASE("health says that NATS is away, and that it is back") {
  Programs programs;
  auto relay = programs.start_relay({"--http", anywhere});
  auto consumer = programs.start_consumer({"--http", anywhere});
  const Monitor publishing{relay}, consuming{consumer};
  REQUIRE_WITHIN(20s, publishing.ready() && consuming.ready());
  programs.server.stop();
  REQUIRE_WITHIN(5s, publishing.refuses("/readyz", "waiting for broker: not connected"));
  REQUIRE_WITHIN(5s, consuming.refuses("/readyz", "NATS: not connected"));
  CHECK(publishing.alive());
  CHECK(consuming.alive());
  programs.server.start();
  REQUIRE_WITHIN(10s, publishing.ready() && consuming.ready());
}

TEST_CASE("a NATS that is silent does not pass for a stalled relay, nor for its database") {
  Programs programs;
  auto relay = programs.start_relay({"--http", anywhere});
  const Monitor publishing{relay};
  REQUIRE_WITHIN(20s, publishing.ready());
  programs.server.pause();
  REQUIRE(registered(programs));
  bool alive = true;
  REQUIRE_WITHIN(30s, [&] {
    alive = alive && publishing.alive();
    return publishing.refuses("/readyz", "waiting for broker");
  }());
  // As long as a step may take, and some more, while it asks again and again.
  const auto begun = std::chrono::steady_clock::now();
  REQUIRE_WITHIN(30s, [&] {
    alive = alive && publishing.alive();
    return std::chrono::steady_clock::now() - begun > 8s;
  }());
  CHECK(alive);
  programs.server.resume();
  REQUIRE_WITHIN(30s, publishing.ready());
}

TEST_CASE("a relay that stands by is ready while NATS is there, and says that it stands by") {
  Programs programs;
  auto active = programs.start_relay({"--http", anywhere});
  const Monitor first{active};
  REQUIRE_WITHIN(20s, first.sample("tidings_outbox_phase{phase=\"active\"}") == 1);
  auto standby = programs.start_relay({"--http", anywhere});
  const Monitor second{standby};
  REQUIRE_WITHIN(20s, second.sample("tidings_outbox_phase{phase=\"standby\"}") == 1);
  CHECK(second.ready());
  programs.server.stop();
  REQUIRE_WITHIN(5s, second.refuses("/readyz", "standby: NATS: not connected"));
}

TEST_CASE("health says that the inbox is locked") {
  Programs programs;
  auto relay = programs.start_relay();
  auto consumer = programs.start_consumer({"--http", anywhere});
  const Monitor consuming{consumer};
  REQUIRE_WITHIN(20s, consuming.ready());
  {
    const auto other = tidings::Database::open("sqlite:" + programs.inbox_db());
    const tidings::Transaction lock{*other};
    REQUIRE(registered(programs));
    REQUIRE_WITHIN(5s, consuming.refuses("/readyz", "inbox"));
  }
  REQUIRE_WITHIN(10s, consuming.ready());
}
