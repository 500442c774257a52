// A poison message stays until its dead letter is stored, once, and delays nobody meanwhile.

#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/imitated_leader.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

[[noreturn]] void fail() { throw std::runtime_error("mail server down"); }

}  // namespace

TEST_CASE("without a dead-letter stream a poison message stays, and is delivered when the stream comes") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 30'000'000'000}});
  auto options = scene.options();
  options.manage_streams = false;
  options.max_attempts = 2;
  Instance instance{scene.inbox(), options, on_event("poison", fail)};
  scene.publish("poison");
  scene.publish("good");
  instance.start();
  REQUIRE_WITHIN(10s, scene.group().delivered >= 6);  // it comes back, and is not started again
  CHECK(instance.calls_for("poison").size() == 2);
  CHECK(scene.group().acked_to == 0);
  CHECK(instance.stats().handled == 1);
  CHECK(instance.stats().dead_lettered == 0);

  scene.js.add_stream("AUTH_DLQ", {"auth.dlq.>"});
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("tidings-reason") == "mail server down");
  CHECK(letters[0].header("tidings-attempts") == "2");
  CHECK(instance.calls_for("poison").size() == 2);
}

TEST_CASE("a poison message stays while the leader of the dead letters does not say that it has them") {
  Scene scene;
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 30'000'000'000}});
  auto options = scene.options();
  options.manage_streams = false;
  Instance instance{scene.inbox(), options, on_event("poison", [] { throw Reject("no"); })};
  scene.publish("poison");
  {
    // As one answers that is cut off from the others and is asked again; with another text since 2.11.
    ImitatedLeader leader{
        scene.server.url(), "auth.dlq.>",
        GENERATE(
            as<std::string>{}, R"({"stream":"AUTH_DLQ","seq":0,"duplicate":true})",
            R"({"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}})")};
    instance.start();
    REQUIRE_WITHIN(10s, leader.asked() >= 3);
    CHECK(instance.stats().dead_lettered == 0);
    CHECK(scene.group().acked_to == 0);
  }
  scene.js.add_stream("AUTH_DLQ", {"auth.dlq.>"});
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  CHECK(scene.dead_letters().size() == 1);
  CHECK(instance.stats().dead_lettered == 1);
}

TEST_CASE("a dead letter whose end did not reach the server is stored once") {
  // Acks and ends of this user are dropped by the server.
  Scene scene{R"(authorization { users: [ { user: test, password: test }, {
    user: mute, password: mute, permissions: { publish: { deny: ["$JS.ACK.>"] } } } ] })",
              "test:test@"};
  auto options = scene.options();
  options.connection.user = options.connection.password = "mute";
  options.ack_wait = 200ms;
  Instance instance{scene.inbox(), options, on_event("poison", [] { throw Reject("no"); })};
  scene.publish("poison");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered >= 3);
  instance.stop();
  CHECK(scene.dead_letters().size() == 1);
  CHECK(instance.calls().size() == 1);
}

TEST_CASE("a dead letter that is sent again to the stream is handled as a new message") {
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  std::atomic<bool> broken{true};
  Instance instance{scene.inbox(), options, on_event("one", [&broken] {
                      if (broken) fail();
                    })};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", "again-1"}, {"ce-id", "one"}});
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 2);
  broken = false;
  scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", "again-2"}, {"ce-id", "one"}});
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  instance.stop();
  std::vector<int> attempts;
  for (const auto& call : instance.calls()) attempts.push_back(call.attempt);
  CHECK(attempts == std::vector{1, 2, 1, 2, 1});
  CHECK(scene.effects() == std::vector<std::string>{"one"});
}

TEST_CASE("dead letters that nobody takes delay neither other messages nor a stop, and are kept for later") {
  const std::string users = R"(authorization { users: [ { user: admin, password: pw }, {
    user: mailer, password: pw, permissions: { publish: { deny: ["auth.dlq.>"] } } } ] })";
  Scene scene{users, "admin:pw@"};
  constexpr int bad = 7;
  for (int i = 0; i < bad; ++i) scene.publish("bad-" + std::to_string(i), "{}", "user.renamed");
  scene.publish_many(20);
  auto options = scene.options();
  options.unhandled = ConsumerOptions::Unhandled::dead_letter;
  options.connection.password = "pw";
  options.connection.user = "mailer";
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().handled == 20);  // each letter is waited for 3 s
  const auto asked = std::chrono::steady_clock::now();
  instance.stop();
  CHECK(std::chrono::steady_clock::now() - asked < options.drain_timeout);
  CHECK(instance.error().empty());
  CHECK(instance.stats().dead_lettered == 0);

  options.connection.user = "admin";
  Instance other{scene.inbox("other"), options};
  other.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(scene.dead_letters().size() == bad);
}

TEST_CASE("once a stop is asked for, a dead letter is left to the next instance, which starts no handler") {
  Scene scene;
  Gate gate;
  Instance leaving{scene.inbox(), scene.options(), on_event("poison", [&gate] {
                     gate.pass();
                     throw Reject("no such address");
                   })};
  scene.publish("poison");
  leaving.start();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  leaving.ask_to_stop();
  gate.open();
  REQUIRE_WITHIN(10s, leaving.ended());
  CHECK(leaving.error().empty());
  CHECK(leaving.calls().size() == 1);
  CHECK(leaving.stats().dead_lettered == 0);
  CHECK(scene.dead_letters().empty());
  Instance staying{scene.inbox(), scene.options()};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(staying.calls().empty());
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("tidings-reason") == "no such address");
  CHECK(letters[0].header("tidings-attempts") == "1");
}
