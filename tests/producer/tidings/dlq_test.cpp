// `tidings dlq list`, `show` and `purge`.

#include "operator_scene.hpp"
#include "safe_output.hpp"

#include <tidings/timestamp.hpp>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

TEST_CASE("dead letters are listed and shown as a consumer has written them") {
  OperatorScene scene;
  scene.publish("good");
  const auto sequence = scene.js
                            .publish("auth.events.user.created", R"({"name":"Zoë"})",
                                     {{"ce-specversion", "1.0"},
                                      {"ce-id", "bad"},
                                      {"ce-type", "user.created"},
                                      {"ce-subject", "user 1"},
                                      {"ce-aggregatetype", "User"},
                                      {"x-extra", "kept"},
                                      {"Tidings-Group", "billing"},
                                      {"TIDINGS-REASON", "not ours"}})
                            .seq;
  Instance instance{scene.inbox(), scene.options(), on_event("bad", [] { throw Reject("no such address"); })};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();

  const auto listed = scene.json({"dlq", "list"});
  REQUIRE(listed.size() == 1);
  const auto& letter = listed[0];
  CHECK(parse_timestamp(letter.at("failedAt").get<std::string>()).has_value());
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, json>>{{"sequence", 1},
                                                 {"group", "mailer"},
                                                 {"eventType", "user.created"},
                                                 {"aggregateType", "User"},
                                                 {"aggregateId", "user 1"},
                                                 {"eventId", "bad"},
                                                 {"attempts", 1},
                                                 {"reason", "no such address"},
                                                 {"originalStream", "AUTH_EVENTS"},
                                                 {"originalSequence", sequence},
                                                 {"originalSubject", "auth.events.user.created"},
                                                 {"dataSize", std::string(R"({"name":"Zoë"})").size()}}) {
    CAPTURE(key);
    CHECK(letter.at(key) == value);
  }
  const auto shown = scene.json({"dlq", "show", "1"});
  CHECK(shown.at(0).at("data") == json{{"name", "Zoë"}});
  const auto headers = shown.at(0).at("headers");
  CHECK(std::ranges::find(headers, json{"x-extra", "kept"}) != headers.end());

  const auto table = scene.tidings({"dlq", "list"});
  CHECK_THAT(table.out, ContainsSubstring("User/user 1"));
  CHECK_THAT(table.out, ContainsSubstring("no such address"));
  CHECK_THAT(scene.tidings({"dlq", "show", "1"}).out, ContainsSubstring("\"name\": \"Zoë\""));
  // Nothing is left behind on the server.
  CHECK(scene.js.api("CONSUMER.NAMES.AUTH_DLQ").value("total", -1) == 0);
}

TEST_CASE("an event in structured mode is listed with the attributes of its document") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.js.publish("auth.dlq.mailer.user.renamed",
                   R"({"specversion":"1.0","id":"one","type":"user.renamed","subject":"user-1","data":{}})",
                   {{"content-type", "application/cloudevents+json"},
                    {"tidings-group", "mailer"},
                    {"tidings-reason", "no"},
                    {"tidings-original-subject", "auth.events.user.renamed"}});
  CHECK(scene.json({"dlq", "list", "--aggregate", "user-1"}).at(0).at("eventId") == "one");
  CHECK(scene.json({"dlq", "list", "--aggregate", "user-2"}).empty());
}

TEST_CASE("filters choose among dead letters") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.letter("one", "user-1", 1);
  scene.letter("two", "user-2", 2, {{"ce-type", "user.renamed"}}, "{}", "no such address");
  scene.js.publish("auth.dlq.billing.user.created", "{}", {{"tidings-group", "billing"}, {"ce-id", "three"}});
  const auto found = [&](std::vector<std::string> arguments) {
    std::vector<std::string> ids;
    arguments.insert(arguments.begin(), {"dlq", "list"});
    for (const auto& letter : scene.json(arguments)) ids.push_back(letter.at("eventId"));
    return ids;
  };
  using Ids = std::vector<std::string>;
  CHECK(found({}) == Ids{"one", "two", "three"});
  CHECK(found({"--group", "billing"}) == Ids{"three"});
  CHECK(found({"--type", "user.renamed"}) == Ids{"two"});
  CHECK(found({"--type", "user.*"}) == Ids{"one", "two", "three"});
  CHECK(found({"--aggregate", "user-2"}) == Ids{"two"});
  CHECK(found({"--aggregate", "User/user-1"}) == Ids{"one"});
  CHECK(found({"--aggregate", "Order/user-1"}).empty());
  CHECK(found({"--reason", "address"}) == Ids{"two"});
  CHECK(found({"--since", "1h"}) == Ids{"one", "two", "three"});
  CHECK(found({"--since", "2999-01-01T00:00:00Z"}).empty());
  CHECK(found({"--limit", "2"}) == Ids{"two", "three"});
}

TEST_CASE("ten thousand dead letters alike are one line") {
  OperatorScene scene;
  scene.add_letters_stream();
  constexpr int alike = 10000;
  for (int i = 0; i < alike; ++i)
    scene.letter("id-" + std::to_string(i), "user", static_cast<std::uint64_t>(i) + 1, {}, "{}",
                 "user " + std::to_string(i) + " (3fa85f64-5717-4562-b3fc-2c963f66afa6) has no address");
  scene.letter("other", "user", 99999);
  const auto groups = scene.json({"dlq", "list", "--by", "reason"});
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].at("count") == alike);
  CHECK(groups[0].at("reason") == "user # (#) has no address");
  CHECK(groups[0].at("firstSequence") == 1);
  CHECK(groups[0].at("lastSequence") == alike);
  CHECK(groups[1].at("reason") == "mail server down");
  CHECK_THAT(scene.tidings({"dlq", "list", "--by", "reason"}).out,
             ContainsSubstring("10000  ") && ContainsSubstring("user # (#) has no address"));
  CHECK(scene.json({"dlq", "list"}).size() == alike + 1);
  CHECK(scene.json({"dlq", "list", "--by", "group"}).at(0).at("count") == alike + 1);
}

TEST_CASE("what somebody has written into a dead letter does not steer the operator's terminal") {
  OperatorScene scene;
  scene.add_letters_stream();
  const auto& hostile = hostile_text;
  scene.letter(hostile, hostile, 1, {{"x-hostile", hostile}}, hostile, hostile);
  const std::string deep(200000, '[');
  scene.letter("deep", "user", 2, {}, deep + std::string(deep.size(), ']'));
  for (const auto& arguments : std::vector<std::vector<std::string>>{{"dlq", "list"},
                                                                     {"dlq", "list", "--json"},
                                                                     {"dlq", "list", "--by", "reason"},
                                                                     {"dlq", "show", "1"},
                                                                     {"dlq", "show", "1", "--json"},
                                                                     {"dlq", "show", "2"},
                                                                     {"dlq", "show", "2", "--json"},
                                                                     {"dlq", "redrive", "1"}}) {
    const auto finished = scene.tidings(arguments);
    CAPTURE(arguments, finished.out, finished.err);
    CHECK(finished.exit == exited(arguments[1] == "redrive" ? 1 : 0));
    CHECK(is_safe(finished.out));
    CHECK(is_safe(finished.err));
  }
}

TEST_CASE("a purge deletes what it was told to, once it was answered yes") {
  OperatorScene scene;
  scene.add_letters_stream();
  scene.letter("one", "user-1", 1);
  scene.letter("two", "user-2", 2, {}, "{}", "no such address");
  scene.letter("three", "user-3", 3);
  for (const char* answer : {"", "n\n", "\n"}) {
    const auto asked = scene.tidings({"dlq", "purge"}, answer);
    CHECK(asked.exit == exited(1));
    CHECK_THAT(asked.err,
               ContainsSubstring("Delete 3 dead letters of AUTH_DLQ") && ContainsSubstring("--yes"));
  }
  REQUIRE(scene.dead_letters().size() == 3);
  CHECK(scene.json({"dlq", "purge", "--reason", "address", "--yes"}).at(0).at("deleted") == 1);
  CHECK(scene.json({"dlq", "list"}).size() == 2);
  CHECK(scene.tidings({"dlq", "purge", "3"}, "y\n").exit == exited(0));
  CHECK(scene.json({"dlq", "list"}).at(0).at("eventId") == "one");
  CHECK(scene.tidings({"dlq", "purge", "3", "--yes"}).exit == exited(1));  // gone already
  CHECK(scene.tidings({"dlq", "purge", "--yes"}).exit == exited(0));
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("a purge of the wrong stream deletes no event") {
  OperatorScene scene;
  scene.publish("one");
  const auto purged = scene.tidings({"dlq", "purge", "--yes", "--stream", "AUTH_EVENTS"});
  CHECK(purged.exit == exited(1));
  CHECK_THAT(purged.err, ContainsSubstring("no dead letters of a consumer"));
  CHECK(scene.js.message_count("AUTH_EVENTS") == 1);
}

TEST_CASE("the commands for dead letters tell a wrong use from a failure") {
  OperatorScene scene;
  const auto exit_of = [&](const std::vector<std::string>& arguments) {
    return scene.tidings(arguments).exit;
  };
  CHECK(exit_of({"dlq"}) == exited(2));
  CHECK(exit_of({"dlq", "show"}) == exited(2));
  CHECK(exit_of({"dlq", "show", "x"}) == exited(2));
  CHECK(exit_of({"dlq", "list", "--by", "mood"}) == exited(2));
  CHECK(exit_of({"dlq", "list", "--since", "yesterday"}) == exited(2));
  CHECK(exit_of({"dlq", "list", "--group", "a.>"}) == exited(2));
  CHECK(exit_of({"dlq", "list", "--stream", "a.b"}) == exited(2));
  CHECK(exit_of({"dlq", "redrive"}) == exited(2));
  CHECK(exit_of({"dlq", "redrive", "--group", "mailer"}) == exited(2));
  CHECK(exit_of({"dlq", "redrive", "1", "--all"}) == exited(2));
  CHECK(exit_of({"dlq", "purge", "1", "--group", "mailer"}) == exited(2));
  const auto missing = scene.tidings({"dlq", "list"});
  CHECK(missing.exit == exited(1));
  CHECK_THAT(missing.err, ContainsSubstring("there is no stream AUTH_DLQ"));
  scene.add_letters_stream();
  CHECK(scene.tidings({"dlq", "list"}).out.starts_with("SEQ"));
  CHECK(scene.json({"dlq", "list"}).empty());
  CHECK_THAT(scene.tidings({"dlq", "show", "7"}).err, ContainsSubstring("no dead letter 7 in AUTH_DLQ"));
}

TEST_CASE("a name that no stream can have is told before the server is asked for it") {
  const auto command = GENERATE(as<std::vector<std::string>>{}, std::vector<std::string>{"dlq", "list"},
                                std::vector<std::string>{"dlq", "show", "1"},
                                std::vector<std::string>{"dlq", "redrive", "--all"},
                                std::vector<std::string>{"dlq", "purge"}, std::vector<std::string>{"groups"});
  const auto name = GENERATE(as<std::string>{}, "", "a.b", "a b", "a>");
  auto arguments = command;
  arguments.insert(arguments.end(), {"--stream", name});
  const auto finished =
      run(executable("tidings"), arguments, {.environment = {{"NATS_URL", "nats://127.0.0.1:1"}}});
  CAPTURE(finished.err);
  CHECK(finished.exit == exited(2));
  CHECK_THAT(finished.err, ContainsSubstring("takes a name without spaces"));
}
