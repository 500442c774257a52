// A relay that publishes to partitions, and a group that shares the stream as ever.

#include "support/catch.hpp"
#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/outbox.hpp"
#include "support/programs.hpp"

#include <map>
#include <set>
#include <string>

using namespace tidings;
using namespace tidings::test;

namespace {

ProcessOptions relay_options(const NatsServer& server, const Outbox& outbox, const std::string& partitions) {
  return {.environment = {{"NATS_URL", server.url()},
                          {"DATABASE_URL", outbox.url()},
                          {"OUTBOX_PARTITIONS", partitions}},
          .input = {},
          .log_folder = {}};
}

}  // namespace

TEST_CASE("events of 200 aggregates in 16 partitions reach a shared group, each aggregate by one partition",
          "[engines]") {
  constexpr int aggregates = 200, count = 1000;
  Scene scene;
  Outbox outbox{engine_under_test()};
  outbox.add_many(count, aggregates);
  auto options = scene.options();
  options.filter = ConsumerOptions::Filter::by_type;
  const auto relay =
      run(executable("tidings"), {"relay", "--drain"}, relay_options(scene.server, outbox, "16"));
  REQUIRE(relay.exit == exited(0));
  CHECK(outbox.count_status("PUBLISHED") == count);

  std::map<std::string, std::set<std::string>> partitions_of;
  std::set<std::string> partitions;
  const auto stream = scene.js.messages("AUTH_EVENTS");
  REQUIRE(stream.size() == count);
  for (const auto& message : stream) {
    const auto& subject = message.subject;
    const auto token = subject.substr(std::string{"auth.events."}.size(), 7);
    CHECK(subject == "auth.events." + token + ".user.created");
    CHECK(message.header("ce-type") == "user.created");
    partitions_of[message.header("ce-subject")].insert(token);
    partitions.insert(token);
  }
  CHECK(partitions_of.size() == aggregates);
  for (const auto& [aggregate, tokens] : partitions_of) CHECK(tokens.size() == 1);
  CHECK(partitions.size() == 16);
  CHECK(ledger(outbox, stream) == "");

  Instance one{scene.inbox(), options}, other{scene.inbox(), options};
  one.start();
  other.start();
  REQUIRE_WITHIN(30s, scene.all_acked() && scene.effects().size() == count);
  CHECK(unique(scene.effects()).size() == count);
  CHECK(one.stats().by_type["user.created"].handled + other.stats().by_type["user.created"].handled == count);
}
