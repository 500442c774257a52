// What a dead letter is made of, and which messages become one.

#include "support/consuming.hpp"

using namespace tidings;
using namespace tidings::test;

namespace {

[[noreturn]] void fail() { throw std::runtime_error("mail server down"); }

struct Numbered {
  int n = 0;
};
void from_json(const nlohmann::json& json, Numbered& numbered) { json.at("n").get_to(numbered.n); }

}  // namespace

TEST_CASE("a message that fails too often is in the dead-letter stream, with its reason and as it came") {
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 3;
  std::string data = R"({"name": "Zoë", "zero": ")";
  data += std::string{"\\u0000"} + "\"}\n";
  scene.publish("before");
  const auto sequence = scene.js
                            .publish("auth.events.user.created", data,
                                     {{"Nats-Msg-Id", "poison"},
                                      {"ce-specversion", "1.0"},
                                      {"ce-id", "poison"},
                                      {"ce-type", "user.created"},
                                      {"ce-source", "auth-service"},
                                      {"CE-Subject", "user-1"},
                                      {"ce-metadata", R"({"a":1})"},
                                      {"x-extra", "kept"}})
                            .seq;
  scene.publish("after");
  const auto begun = now();
  Instance instance{scene.inbox(), options, on_event("poison", fail)};
  instance.start();
  REQUIRE_WITHIN(10s, scene.has_group() && scene.group().acked_to == 3);
  instance.stop();

  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  const auto& letter = letters.front();
  CHECK(letter.subject == "auth.dlq.mailer.user.created");
  CHECK(letter.data == data);
  CHECK(letter.header("tidings-reason") == "mail server down");
  CHECK(letter.header("tidings-attempts") == "3");
  CHECK(letter.header("tidings-original-subject") == "auth.events.user.created");
  CHECK(letter.header("tidings-original-stream") == "AUTH_EVENTS");
  CHECK(letter.header("tidings-original-sequence") == std::to_string(sequence));
  CHECK(letter.header("tidings-group") == "mailer");
  const auto failed_at = parse_timestamp(letter.header("tidings-failed-at"));
  REQUIRE(failed_at.has_value());
  CHECK(*failed_at >= begun - 10s);
  CHECK(*failed_at <= now() + 10s);
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"ce-specversion", "1.0"},
                                                        {"ce-id", "poison"},
                                                        {"ce-type", "user.created"},
                                                        {"ce-source", "auth-service"},
                                                        {"CE-Subject", "user-1"},
                                                        {"ce-metadata", R"({"a":1})"},
                                                        {"x-extra", "kept"}})
    CHECK(letter.header(name) == value);
  CHECK(letter.header("Nats-Msg-Id").starts_with("AUTH_EVENTS:mailer:" + std::to_string(sequence) + ":"));

  CHECK(instance.calls_for("poison").size() == 3);
  CHECK(instance.stats().dead_lettered == 1);
  CHECK(scene.effects() == std::vector<std::string>{"before", "after"});
}

TEST_CASE("a rejected message is a dead letter at once") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options(),
                    on_event("one", [] { throw Reject("no such\r\naddress: ä"); })};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(instance.calls().size() == 1);
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("tidings-reason") == "no such  address: ä");
  CHECK(letters[0].header("tidings-attempts") == "1");
}

TEST_CASE("a payload that leaves no room for the headers of a dead letter stays in its stream") {
  Scene scene{"max_payload: 4096"};
  const auto large = R"({"name": ")" + std::string(3800, 'x') + "\"}";
  const auto sequence = scene.publish("large", large).seq;
  Instance instance{scene.inbox(), scene.options(),
                    on_event("large", [] { throw Reject("no such address"); })};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].data.empty());
  CHECK(letters[0].header("tidings-payload-left-out") == std::to_string(large.size()));
  CHECK(letters[0].header("tidings-reason") == "no such address");
  CHECK(letters[0].header("tidings-original-sequence") == std::to_string(sequence));
  CHECK(scene.js.message_count("AUTH_EVENTS") == 1);
}

TEST_CASE("headers that leave no room for those of a dead letter are left out, the largest first") {
  Scene scene;
  const std::string large(65'100, 'x'), kept(100, 'y');
  scene.js.publish("auth.events.user.created", R"({"n":1})",
                   {{"ce-id", "large"}, {"x-kept", kept}, {"x-large", large}, {"x-last", kept}});
  Instance instance{scene.inbox(), scene.options(),
                    on_event("large", [] { throw Reject("no such address"); })};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("tidings-headers-left-out") == "x-large");
  CHECK(letters[0].header("x-large").empty());
  CHECK(letters[0].header("x-kept") == kept);
  CHECK(letters[0].header("x-last") == kept);
  CHECK(letters[0].header("ce-id") == "large");
  CHECK(letters[0].header("tidings-reason") == "no such address");
  CHECK(letters[0].data == R"({"n":1})");
}

TEST_CASE("whatever a message is made of, its dead letter can be stored") {
  const std::vector<std::pair<std::string, std::string>> id{{"ce-id", "bad"}};
  auto headers = id;
  std::string payload = "{}";
  std::string limits;
  std::int64_t largest = -1;
  SECTION("one name of 65,000 bytes") { headers.emplace_back(std::string(65'000, 'n'), "1"); }
  SECTION("an id of 64,000 bytes") {
    headers = {{"ce-id", std::string(64'000, 'i')}, {"x", std::string(900, 'x')}};
  }
  SECTION("thousands of headers") {
    for (int i = 0; i < 4'400; ++i) headers.emplace_back("x-" + std::to_string(i), "12345");
  }
  SECTION("a server that takes little") {
    limits = "max_payload: 4096";
    payload = "\"" + std::string(800, 'p') + "\"";
    for (int i = 0; i < 27; ++i) headers.emplace_back("x-" + std::to_string(i), std::string(100, 'x'));
  }
  SECTION("a dead-letter stream that takes little") {
    largest = 1'000;
    payload = "\"" + std::string(100'000, 'p') + "\"";
    for (int i = 0; i < 50; ++i) headers.emplace_back("x-" + std::to_string(i), std::string(1'000, 'x'));
  }
  CAPTURE(headers.size(), payload.size());
  Scene scene{limits};
  scene.js.add_stream("AUTH_DLQ", {"auth.dlq.>"}, {{"max_msg_size", largest}});
  const auto sequence = scene.js.publish("auth.events.user.created", payload, headers).seq;
  Instance instance{scene.inbox(), scene.options(),
                    [](const Delivery&, Tx&) { throw Reject(std::string(2'000, 'r')); }};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("tidings-original-sequence") == std::to_string(sequence));
  CHECK(letters[0].header("tidings-reason").starts_with("rrrr"));
  CHECK_FALSE(letters[0].header("tidings-headers-left-out").empty());
}

TEST_CASE("an event whose only id is the message's keeps it as a dead letter") {
  Scene scene;
  scene.js.publish("auth.events.user.created", "{}", {{"Nats-Msg-Id", "one"}});
  Instance instance{scene.inbox(), scene.options(), on_event("one", [] { throw Reject("no such address"); })};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  CHECK(scene.dead_letters().at(0).header("tidings-original-id") == "one");
}

TEST_CASE("a reason of any length and bytes is a header that can be read") {
  Scene scene;
  std::string reason(999, 'x');
  for (int i = 0; i < 1000; ++i) reason += "ä";
  Instance instance{scene.inbox(), scene.options(), [&](const Delivery& delivery, Tx&) {
                      throw Reject(delivery.event.id == "long" ? reason : "");
                    }};
  scene.publish("long");
  scene.publish("none");
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 2);
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 2);
  CHECK(letters[0].header("tidings-reason") == std::string(999, 'x'));  // cut before half a character
  CHECK_FALSE(letters[1].header("tidings-reason").empty());
}

TEST_CASE("what cannot be decoded is a dead letter at once, with what is wrong") {
  Scene scene;
  const auto stop_when = [&](std::size_t count) {
    TestInbox inbox{scene.inbox()};
    Consumer consumer{inbox, scene.options()};
    int calls = 0;
    consumer.on<Numbered>("user.created", [&](const Numbered&, Tx&, const Delivery&) { ++calls; });
    std::stop_source stop;
    std::jthread running{[&] { consumer.run(stop.get_token()); }};
    REQUIRE_WITHIN(10s, scene.dead_letters().size() == count);
    REQUIRE_WITHIN(10s, scene.all_acked());
    stop.request_stop();
    running.join();
    CHECK(calls == 0);
    CHECK(consumer.stats().dead_lettered == count);
  };
  scene.publish("no-json", "{\"n\": ");
  scene.publish("misfit", R"({"n": "seven"})");
  scene.js.publish("auth.events.user.created", "hello");  // no headers at all
  scene.js.publish("auth.events.user.created", R"({"n": 1})", {{"ce-id", "x"}, {"ce-specversion", "0.3"}});
  scene.js.publish("auth.events.user.created", "[1, 2", {{"content-type", "application/cloudevents+json"}});
  stop_when(5);
  const auto letters = scene.dead_letters();
  const auto reason = [&](std::size_t i) { return letters[i].header("tidings-reason"); };
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < letters.size(); ++i) reasons.push_back(reason(i));
  const auto told = [&](const std::string& part) {
    return std::ranges::any_of(reasons,
                               [&](const std::string& text) { return text.find(part) != std::string::npos; });
  };
  CAPTURE(reasons);
  CHECK(told("data: is not JSON"));
  CHECK(told("data of user.created does not fit"));
  CHECK(told("\"0.3\" is not supported"));
  CHECK(told("is not a JSON object, as structured CloudEvents must be"));
  for (const auto& letter : letters) CHECK(letter.subject == "auth.dlq.mailer.user.created");
  CHECK(std::ranges::any_of(letters, [](const StoredMessage& letter) {
    return letter.header("tidings-original-id").starts_with("AUTH_EVENTS:3:");  // that of hello
  }));
}

TEST_CASE("a document nested too deep is a dead letter and not the end of the process") {
  Scene scene;
  constexpr std::size_t depth = 200000;
  const std::string deep = std::string(depth, '[') + std::string(depth, ']');
  scene.js.publish("auth.events.user.created",
                   R"({"specversion":"1.0","id":"deep","type":"user.created","data":)" + deep + "}",
                   {{"content-type", "application/cloudevents+json"}});
  scene.js.publish("auth.events.user.created", deep, {{"ce-id", "binary"}});
  TestInbox inbox{scene.inbox()};
  Consumer consumer{inbox, scene.options()};
  consumer.on<nlohmann::json>("user.created", [](const nlohmann::json&, Tx&, const Delivery&) {});
  const std::jthread running{[&](const std::stop_token& stop) { consumer.run(stop); }};
  REQUIRE_WITHIN(20s, consumer.stats().dead_lettered == 2);
  for (const auto& letter : scene.dead_letters())
    CHECK_THAT(letter.header("tidings-reason"), ContainsSubstring("deeper than 1000 levels"));
}

TEST_CASE("a type without a handler is a dead letter by option") {
  Scene scene;
  auto options = scene.options();
  options.unhandled = ConsumerOptions::Unhandled::dead_letter;
  scene.publish("one", "{}", "user.renamed");
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 1);
  REQUIRE_WITHIN(10s, scene.all_acked());
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].subject == "auth.dlq.mailer.user.renamed");
  CHECK(letters[0].header("tidings-reason") == "no handler for the type user.renamed");
}

TEST_CASE("a type that is no subject goes to the dead letters all the same") {
  Scene scene;
  auto options = scene.options();
  options.unhandled = ConsumerOptions::Unhandled::dead_letter;
  for (const char* type : {"has space", "*", "a..b", ".a", "a.>"})
    scene.js.publish("auth.events.x", "{}", {{"ce-id", type}, {"ce-type", type}});
  Instance instance{scene.inbox(), options};
  instance.start();
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 5);
  for (const auto& letter : scene.dead_letters()) CHECK(letter.subject == "auth.dlq.mailer.unknown");
}
