// The programs with DATABASE_URL naming PgBouncer in transaction mode.

#include "support/pgbouncer.hpp"

#include "support/catch.hpp"
#include "support/programs.hpp"
#include "support/relays.hpp"
#include "support/wait.hpp"

#include <nlohmann/json.hpp>

#include <csignal>

using namespace tidings::test;

TEST_CASE("users registered behind PgBouncer are published by its relays, of which one takes over") {
  Relays relays{Engine::postgres};
  const PgBouncer pooler{relays.outbox.server()};
  const auto said_by = [&](const std::string& program, const std::vector<std::string>& arguments,
                           const std::string& input) {
    const auto finished = run(executable(program), arguments,
                              {.environment = {{"DATABASE_URL", pooler.url()}}, .input = input});
    INFO(finished.err);
    REQUIRE(finished.exit == exited(0));
    return finished.out;
  };
  said_by("auth-service", {"migrate"}, "");
  const Relays::Settings settings{{"DATABASE_URL", pooler.url()}, {"OUTBOX_PROCESSING_INTERVAL_MS", "100"}};
  auto first = relays.start(settings), second = relays.start(settings);
  REQUIRE_WITHIN(20s, relays.active() != 0);
  said_by("auth-service", {"register", "--from", "-"}, user_lines(300));
  REQUIRE_WITHIN(20s, relays.all_published());
  auto& active = relays.active() == first.pid() ? first : second;
  auto& other = relays.active() == first.pid() ? second : first;
  active.kill(SIGKILL);
  relays.outbox.add_many(300, 7);
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.active() == other.pid());
  CHECK(relays.audit() == "");
  const auto stats = nlohmann::json::parse(said_by("tidings", {"outbox", "stats", "--json"}, ""));
  CHECK(stats.at("published") == 600);
  CHECK(stats.at("pending") == 0);
  CHECK(stats.at("processor").at("state") == "active");
  other.kill(SIGTERM);
  CHECK(other.wait() == exited(0));
  const auto log = other.out() + other.err();
  INFO(log);
  CHECK(occurrences(log, "commits are seen by polling only") == 1);
  CHECK(occurrences(log, "through a pooler") == 1);
}
