// A relay whose login lacks a right: it uses up no attempt, says what is missing where operators look, and
// goes on when the right is given.

#include "support/catch.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <string>

using namespace tidings;
using namespace tidings::test;
using Phase = ProcessorStatus::Phase;

namespace {

std::string granted_all_but(const std::string& right) {
  return "CREATE ROLE relay LOGIN; GRANT ALL ON outbox_event, outbox_lease, outbox_state TO relay; REVOKE " +
         right + " FROM relay";
}

std::string login_of_relay(Outbox& outbox) {
  return "postgresql://relay@127.0.0.1:" + std::to_string(outbox.server().port()) + "/postgres";
}

}  // namespace

TEST_CASE("a relay that may not change rows says so in stats, and goes on once it may") {
  NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox{Engine::postgres};
  const std::string right = GENERATE("UPDATE", "DELETE");
  CAPTURE(right);
  outbox.execute(granted_all_but(right + " ON outbox_event"));
  auto options = quick_polling();
  if (right == "DELETE") options.retention = std::chrono::days{0};
  outbox.add_many(10, 10);
  Processor processor{login_of_relay(outbox), server.url(), options};
  const auto told = [&outbox] {
    const auto record = outbox.repository().stats().processor;
    return record && record->phase == Phase::waiting_for_database && record->expires_at > now() &&
           record->waiting_because.find("permission denied for table outbox_event") != std::string::npos;
  };
  REQUIRE_WITHIN(10s, told());
  const auto beat = outbox.number("SELECT beat FROM outbox_lease");
  REQUIRE_WITHIN(10s, outbox.number("SELECT beat FROM outbox_lease") > beat + 4);
  CHECK(told());  // beyond the lease that it began with
  CHECK(outbox.number("SELECT epoch FROM outbox_lease") == 1);
  CHECK(outbox.number("SELECT sum(retryCount) FROM outbox_event") == 0);
  outbox.execute("GRANT " + right + " ON outbox_event TO relay");
  REQUIRE_WITHIN(10s, outbox.count("status <> 'PUBLISHED'") == 0);
  REQUIRE_WITHIN(10s, outbox.repository().stats().processor->phase == Phase::active);
  CHECK(jetstream.message_count("AUTH_EVENTS") == 10);
}

TEST_CASE("a relay that could not say what it does ends at its start, and names the right") {
  NatsServer server;
  Outbox outbox{Engine::postgres};
  const std::string right = GENERATE("SELECT", "INSERT", "UPDATE");
  CAPTURE(right);
  outbox.execute(granted_all_but(right + " ON outbox_state"));
  outbox.add("user-1");
  Processor processor{login_of_relay(outbox), server.url(), quick_polling()};
  processor.join();
  CHECK_THAT(processor.error(), ContainsSubstring("permission denied for table outbox_state; grant it"));
  CHECK(outbox.count_status("PENDING") == 1);
}
