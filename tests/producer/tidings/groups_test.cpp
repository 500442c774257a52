// `tidings groups`.

#include "operator_scene.hpp"
#include "support/gate.hpp"

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

TEST_CASE("groups are shown with what they are behind, and what they have not settled") {
  OperatorScene scene;
  scene.js.add_consumer("AUTH_EVENTS", "audit", {{"filter_subject", "auth.events.user.renamed"}});
  scene.publish("one");
  scene.publish("two");
  Gate gate;
  auto options = scene.options();
  options.filter = ConsumerOptions::Filter::whole_stream;
  Instance instance{scene.inbox(), options, on_event("one", [&gate] { gate.pass(); })};
  instance.start();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  REQUIRE_WITHIN(10s, scene.group().num_ack_pending == 2);
  const auto first = scene.json({"groups"});
  REQUIRE(first.size() == 2);
  const auto& audit = first[0].at("group") == "audit" ? first[0] : first[1];
  const auto& mailer = first[0].at("group") == "audit" ? first[1] : first[0];
  CHECK(audit.at("filters") == json{"auth.events.user.renamed"});
  CHECK(audit.at("lag") == 0);
  CHECK(audit.at("oldestUnackedMs").is_null());
  CHECK(audit.at("instances").is_null());
  CHECK(mailer.at("stream") == "AUTH_EVENTS");
  CHECK(mailer.at("kind") == "pull");
  CHECK(mailer.at("unacked") == 2);
  CHECK(mailer.at("redelivered") == 0);
  CHECK(mailer.at("instances") == 1);
  const auto age = mailer.at("oldestUnackedMs").get<int>();
  CHECK(age >= 0);
  REQUIRE_WITHIN(10s, scene.json({"groups"}).at(1).at("oldestUnackedMs") > age);
  CHECK_THAT(scene.tidings({"groups"}).out,
             ContainsSubstring("GROUP") && ContainsSubstring("auth.events.user.renamed"));
  gate.open();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();

  scene.publish("three", "{}", "user.renamed");
  const auto behind = scene.json({"groups"});
  for (const auto& group : behind) {
    CHECK(group.at("lag") == 1);
    CHECK(group.at("unacked") == 0);
  }
}

TEST_CASE("the oldest unacked event is the first one behind the ack floor that the group is handed") {
  OperatorScene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"filter_subject", "auth.events.user.created"}});
  scene.publish("not its", "{}", "user.renamed");
  take_time(300ms);
  const auto begun = std::chrono::steady_clock::now();
  scene.publish("its");
  scene.js.api("CONSUMER.MSG.NEXT.AUTH_EVENTS.mailer", {{"batch", 1}});
  const auto age = scene.json({"groups"}).at(0).at("oldestUnackedMs").get<int>();
  CHECK(age <=
        std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count());
}

TEST_CASE("a group's push consumer is told from a pull consumer, and lookers-on are no groups") {
  OperatorScene scene;
  scene.js.add_consumer("AUTH_EVENTS", "pushed",
                        {{"deliver_subject", "to.pushed"}, {"deliver_group", "pushed"}});
  scene.js.api("CONSUMER.CREATE.AUTH_EVENTS",
               {{"stream_name", "AUTH_EVENTS"}, {"config", {{"ack_policy", "none"}}}});
  const auto groups = scene.json({"groups"});
  REQUIRE(groups.size() == 1);
  CHECK(groups[0].at("kind") == "push");
  CHECK(groups[0].at("waitingPulls").is_null());
  CHECK(groups[0].at("filters").empty());
}

TEST_CASE("groups of a stream that is not there, and of a server that is not there, are failures") {
  OperatorScene scene;
  CHECK_THAT(scene.tidings({"groups", "--stream", "NONE"}).err, ContainsSubstring("there is no stream NONE"));
  CHECK(scene.tidings({"groups", "--stream", "a b"}).exit == exited(2));
  scene.server.stop();
  CHECK(scene.tidings({"groups"}).exit == exited(1));
}
