// What a relay says at its start of a PostgreSQL server that may lose what was committed.

#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/outbox_processor.hpp>

#include <string>

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a relay says once at its start that a crash of PostgreSQL would empty the outbox") {
  const NatsServer server;
  const Outbox outbox{Engine::postgres};
  const bool unlogged = GENERATE(false, true);
  if (unlogged) outbox.execute("ALTER TABLE outbox_event SET UNLOGGED");
  const Log log;
  Processor processor{outbox, server.url(), {}};
  REQUIRE_WITHIN(20s, processor.active());
  processor.stop();
  const std::string told = "outbox_event is UNLOGGED: PostgreSQL empties it when it crashes";
  const auto text = log.text();
  CHECK((text.find(told) != std::string::npos) == unlogged);
  CHECK(text.find(told) == text.rfind(told));
}
