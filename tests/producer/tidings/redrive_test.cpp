// `tidings dlq redrive`: to the group that failed an event, and to no other.

#include "operator_scene.hpp"

#include <csignal>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

namespace {

/// Of whom the server takes everything but the deletion of letters: as if the command died before it.
constexpr const char* logins = R"(authorization { users: [ { user: oper, password: pw }, {
  user: half, password: pw, permissions: { publish: { deny: ["$JS.API.STREAM.MSG.DELETE.>"] } } } ] })";

std::vector<json> redrive_all(OperatorScene& scene) { return scene.json({"dlq", "redrive", "--all"}); }

}  // namespace

TEST_CASE("a redriven event reaches the group that failed it, and nobody else") {
  OperatorScene scene;
  const int workers = GENERATE(0, 2);
  CAPTURE(workers);
  auto billing_options = scene.options();
  billing_options.group = "billing";
  Instance billing{scene.inbox("billing"), billing_options};
  std::atomic<bool> broken{true};
  const auto fail = [&broken] {
    if (broken) throw std::runtime_error("mail server down");
  };
  std::optional<Instance> mailer;
  if (workers > 0)
    mailer.emplace(scene.inbox(), with_workers(scene.options(), workers), [&](const Delivery&) { fail(); });
  else
    mailer.emplace(scene.inbox(), scene.options(), [&](const Delivery&, Tx&) { fail(); });
  scene.publish("one", R"({"name":"Zoë"})");
  billing.start();
  mailer->start();
  REQUIRE_WITHIN(10s, mailer->stats().dead_lettered == 1);
  REQUIRE_WITHIN(10s, billing.stats().handled == 1);

  // It fails again: a dead letter again, with its five attempts.
  CHECK(redrive_all(scene).at(0).at("outcome") == "sent");
  REQUIRE_WITHIN(10s, mailer->stats().dead_lettered == 2);
  CHECK(mailer->calls().size() == 10);
  REQUIRE(scene.dead_letters().size() == 1);
  CHECK(scene.dead_letters()[0].header("tidings-attempts") == "5");

  broken = false;
  const auto result = scene.tidings({"dlq", "redrive", "2"});
  CHECK(result.exit == exited(0));
  CHECK(result.out == "redriven 1 of 1\n");
  REQUIRE_WITHIN(10s, mailer->stats().handled == 1);
  CHECK(mailer->calls().back().attempt == 1);
  CHECK(scene.dead_letters().empty());
  REQUIRE_WITHIN(10s, scene.js.consumer("AUTH_EVENTS", "billing").acked_to == 3);
  CHECK(billing.calls().size() == 1);
  const auto sent = scene.js.messages("AUTH_EVENTS").back();
  CHECK(sent.data == R"({"name":"Zoë"})");
  CHECK(sent.header("tidings-for-group") == "mailer");
  CHECK(sent.header("tidings-reason").empty());
}

TEST_CASE("a redrive that was interrupted after it had sent is repeated without a second copy") {
  OperatorScene scene{logins, "oper:pw@"};
  scene.add_letters_stream();
  scene.add_group();
  scene.letter("one", "user-1", 1);
  const auto half = scene.tidings({"dlq", "redrive", "--all"}, {}, "half:pw@");
  CHECK(half.exit == exited(1));
  CHECK_THAT(half.err, ContainsSubstring("Run it again"));
  REQUIRE(scene.dead_letters().size() == 1);
  REQUIRE(scene.js.message_count("AUTH_EVENTS") == 1);
  const auto again = scene.tidings({"dlq", "redrive", "--all", "--json"}, {}, "oper:pw@");
  REQUIRE(again.exit == exited(0));
  CHECK(OperatorScene::lines(again.out).at(0) ==
        json{{"sequence", 1}, {"outcome", "sent_before"}, {"newSequence", 1}, {"reason", nullptr}});
  CHECK(scene.dead_letters().empty());
  CHECK(scene.js.message_count("AUTH_EVENTS") == 1);
}

TEST_CASE("a redrive that is repeated when the stream has forgotten it has no second effect") {
  OperatorScene scene{logins, "oper:pw@"};
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"duplicate_window", 100'000'000}});
  scene.add_letters_stream();
  scene.add_group();
  scene.letter("one", "user-1", 1);
  (void)scene.tidings({"dlq", "redrive", "--all"}, {}, "half:pw@");
  REQUIRE(scene.js.message_count("AUTH_EVENTS") == 1);
  // What came after it is taken again: the window is over.
  const auto probe = [&scene] {
    return scene.js.publish("auth.events.user.created", "{}",
                            {{"Nats-Msg-Id", "probe"}, {"tidings-for-group", "nobody"}});
  };
  REQUIRE_FALSE(probe().duplicate);
  REQUIRE_WITHIN(10s, !probe().duplicate);
  const auto again = scene.tidings({"dlq", "redrive", "--all", "--json"}, {}, "oper:pw@");
  CHECK(OperatorScene::lines(again.out).at(0).at("outcome") == "sent");
  REQUIRE(scene.js.message_count("AUTH_EVENTS") == 4);
  auto options = scene.options();
  options.connection.user = "oper";
  options.connection.password = "pw";
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(scene.effects() == std::vector<std::string>{"one"});
  CHECK(instance.stats().duplicates == 1);
}

TEST_CASE("a redrive keeps the order of an aggregate's events, also of those that failed a second time") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.add_group();
  scene.letter("third", "user-1", 30);
  scene.letter("first", "user-1", 10);
  // Was redriven before, as the 100th message of the stream.
  scene.letter("second", "user-1", 100, {{"tidings-first-sequence", "20"}});
  CHECK(redrive_all(scene).size() == 3);
  CHECK(scene.ids_in_stream() == std::vector<std::string>{"first", "second", "third"});
  CHECK(scene.js.messages("AUTH_EVENTS")[1].header("tidings-first-sequence") == "20");
}

TEST_CASE("behind an event that cannot be sent, those of its aggregate stay, and others go") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.add_group();
  scene.letter("gone", "user-1", 10, {{"tidings-payload-left-out", "4000"}}, "");
  scene.letter("behind", "user-1", 20);
  scene.letter("free", "user-2", 30);
  const auto finished = scene.tidings({"dlq", "redrive", "--all", "--json"});
  CHECK(finished.exit == exited(1));
  const auto told = OperatorScene::lines(finished.out);
  REQUIRE(told.size() == 3);
  CHECK_THAT(told[0].at("reason").get<std::string>(), ContainsSubstring("has the original no more"));
  CHECK_THAT(told[1].at("reason").get<std::string>(), ContainsSubstring("waits for the letter 1"));
  CHECK(told[2].at("outcome") == "sent");
  CHECK(scene.ids_in_stream() == std::vector<std::string>{"free"});
  CHECK(scene.dead_letters().size() == 2);
  CHECK_THAT(scene.tidings({"dlq", "redrive", "1"}).err, ContainsSubstring("tidings: 1: "));
}

TEST_CASE("a payload that was left out of the dead letter is taken from the original") {
  OperatorScene scene{"max_payload: 4096"};
  const auto large = R"({"name": ")" + std::string(3700, 'x') + "\"}";
  scene.publish("large", large);
  std::atomic<bool> broken{true};
  Instance instance{scene.inbox(), scene.options(), on_event("large", [&broken] {
                      if (broken) throw Reject(std::string(300, 'r'));
                    })};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  REQUIRE(scene.dead_letters().at(0).data.empty());
  broken = false;
  CHECK(redrive_all(scene).at(0).at("outcome") == "sent");
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  CHECK(scene.js.messages("AUTH_EVENTS").back().data == large);
}

TEST_CASE("an event whose only id was its message's is known again after a redrive") {
  OperatorScene scene;
  scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", "one"}});
  std::atomic<bool> broken{true};
  Instance instance{scene.inbox(), scene.options(), on_event("one", [&broken] {
                      if (broken) throw Reject("no");
                    })};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  broken = false;
  CHECK(redrive_all(scene).at(0).at("outcome") == "sent");
  REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  CHECK(scene.effects() == std::vector<std::string>{"one"});
}

TEST_CASE("a letter sends nothing to where its writer could not have written by himself") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.add_group();
  scene.add_group("billing");
  scene.js.add_stream("OTHER", {"other.>"});
  scene.js.add_consumer("OTHER", "mailer");
  scene.letter("another's group", "a", 1, {{"tidings-group", "billing"}, {"Nats-Msg-Id", "1"}});
  scene.letter("the API", "b", 2,
               {{"tidings-original-subject", "$JS.API.STREAM.DELETE.OTHER"}, {"Nats-Msg-Id", "2"}});
  scene.letter("not of the stream", "c", 3,
               {{"tidings-original-subject", "other.thing"}, {"Nats-Msg-Id", "3"}});
  scene.letter("a wildcard", "d", 4, {{"tidings-original-subject", "auth.events.>"}, {"Nats-Msg-Id", "4"}});
  scene.letter("no stream", "e", 5, {{"tidings-original-stream", "NONE"}, {"Nats-Msg-Id", "5"}});
  // A server closes the connection of whoever names such a subject.
  scene.letter("long", "f", 6,
               {{"tidings-original-subject", "auth.events." + std::string(5000, 'x')}, {"Nats-Msg-Id", "6"}});
  scene.letter("long stream", "g", 7,
               {{"tidings-original-stream", std::string(5000, 'x')}, {"Nats-Msg-Id", "7"}});
  scene.js.publish("auth.dlq.mailer.x", "{}", {{"ce-id", "somebody else's"}});
  const auto finished = scene.tidings({"dlq", "redrive", "--all", "--json"});
  CHECK(finished.exit == exited(1));
  const auto all = OperatorScene::lines(finished.out);
  CHECK(all.size() == 8);
  for (const auto& told : all) {
    CAPTURE(told);
    CHECK(told.at("outcome") == "refused");
  }
  CHECK(scene.js.message_count("AUTH_EVENTS") == 0);
  CHECK(scene.js.message_count("OTHER") == 0);
  CHECK(scene.dead_letters().size() == 8);
}

TEST_CASE("a letter of a group that is gone, or that is not handed its subject any more, stays") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.letter("one", "user-1", 1);
  CHECK_THAT(scene.tidings({"dlq", "redrive", "--all"}).err, ContainsSubstring("does not exist"));
  scene.add_group("mailer-private");
  CHECK_THAT(scene.tidings({"dlq", "redrive", "--all"}).err, ContainsSubstring("does not exist"));
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"filter_subject", "auth.events.user.renamed"}});
  CHECK_THAT(scene.tidings({"dlq", "redrive", "--all"}).err, ContainsSubstring("its filter leaves out"));
  CHECK(scene.dead_letters().size() == 1);
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.js.add_consumer("AUTH_EVENTS", "mailer", {{"filter_subject", "auth.events.user.created"}});
  CHECK(redrive_all(scene).at(0).at("outcome") == "sent");
  // A group may have a durable for each of its partitions.
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  scene.add_group("mailer-p07");
  scene.letter("two", "user-2", 2);
  CHECK(redrive_all(scene).at(0).at("outcome") == "sent");
}

TEST_CASE("a redrive that is killed at any time and run again sends each event once, in order") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.add_group();
  constexpr int letters = 2000;
  std::vector<std::string> ids;
  for (int i = 0; i < letters; ++i) {
    ids.push_back("id-" + std::to_string(i));
    scene.letter(ids.back(), "user-1", static_cast<std::uint64_t>(i) + 1);
  }
  const ProcessOptions options{.environment = {{"NATS_URL", scene.server.url()}}};
  for (const std::uint64_t mark : {20U, 333U, 900U}) {
    Process redriving{executable("tidings"), {"dlq", "redrive", "--all"}, options};
    REQUIRE_WITHIN(30s, scene.js.message_count("AUTH_EVENTS") >= mark);
    redriving.kill(mark == 333U ? SIGTERM : SIGKILL);
    const auto exit = redriving.wait();
    if (mark == 333U) {
      CHECK(exit == exited(0));
      CHECK_THAT(redriving.err(), ContainsSubstring("the others are still there"));
    }
  }
  CHECK(scene.tidings({"dlq", "redrive", "--all"}).exit == exited(0));
  CHECK(scene.ids_in_stream() == ids);
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("what a group has failed on a mirror goes to the stream that is mirrored") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.js.add_stream("COPY", json::array().get<std::vector<std::string>>(),
                      {{"mirror", {{"name", "AUTH_EVENTS"}}}});
  scene.js.add_consumer("COPY", "mailer");
  scene.letter("one", "user-1", 1, {{"tidings-original-stream", "COPY"}});
  scene.letter("two", "user-2", 2,
               {{"tidings-original-stream", "COPY"}, {"tidings-original-subject", "other.thing"}});
  const auto told = OperatorScene::lines(scene.tidings({"dlq", "redrive", "--all", "--json"}).out);
  REQUIRE(told.size() == 2);
  CHECK(told[0].at("outcome") == "sent");
  CHECK(told[1].at("outcome") == "refused");
  REQUIRE_WITHIN(10s, scene.js.message_count("COPY") == 1);
}

TEST_CASE("a redrive and a purge show on a terminal how far they are, and nowhere else") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.add_group();
  for (const char* command : {"redrive --all", "purge --yes"}) {
    for (std::uint64_t i = 1; i <= 3; ++i)
      scene.letter(command + std::to_string(i), "user-1", i, {{"Nats-Msg-Id", command + std::to_string(i)}});
    const auto line = executable("tidings").string() + " dlq " + command;
    const auto finished = run("script", {"--quiet", "--return", "--command", line, "/dev/null"},
                              {.environment = {{"NATS_URL", scene.server.url()}}});
    CAPTURE(finished.out);
    CHECK(finished.exit == exited(0));
    CHECK_THAT(finished.out, ContainsSubstring("\r") && ContainsSubstring(" 1 of 3"));
  }
  scene.letter("one", "user-1", 1, {{"Nats-Msg-Id", "last"}});
  CHECK(scene.tidings({"dlq", "redrive", "--all"}).err.empty());
}
