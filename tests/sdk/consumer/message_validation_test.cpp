// Messages as other senders write them, well or badly: each is handled, or a dead letter that names what is
// wrong and has the message as it came.

#include "support/consuming.hpp"

#include <map>

using namespace tidings;
using namespace tidings::test;

namespace {

struct Account {
  std::string name;
  int n = 0;
};
void from_json(const nlohmann::json& json, Account& account) {
  json.at("name").get_to(account.name);
  json.at("n").get_to(account.n);
}

const std::string good_data = R"({"name": "Zoë", "n": 7})";
const std::string structured = "application/cloudevents+json";

struct Odd {
  std::string what;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string data;
  std::string expected;  ///< the event's id when it is handled; else part of the reason
};

/// A consumer with a typed handler, which keeps what it was given.
class Accounts {
 public:
  explicit Accounts(Scene& scene, ConsumerOptions::Filter filter = ConsumerOptions::Filter::by_type)
      : inbox_(scene.inbox()), consumer_(inbox_, options_of(scene, filter)) {
    consumer_.on<Account>("user.created", [this](const Account& account, Tx&, const Delivery& delivery) {
      CHECK(account.n == 7);
      seen_[delivery.stream_sequence] = delivery;
    });
    running_ = std::jthread{[this](const std::stop_token& stop) { consumer_.run(stop); }};
  }
  ~Accounts() { stop(); }
  Accounts(const Accounts&) = delete;
  Accounts& operator=(const Accounts&) = delete;

  void stop() {
    running_.request_stop();
    if (running_.joinable()) running_.join();
  }
  [[nodiscard]] ConsumerStats stats() const { return consumer_.stats(); }
  /// By stream sequence; after stop().
  [[nodiscard]] const std::map<std::uint64_t, Delivery>& seen() const { return seen_; }

 private:
  static ConsumerOptions options_of(const Scene& scene, ConsumerOptions::Filter filter) {
    auto options = scene.options();
    options.filter = filter;
    return options;
  }

  TestInbox inbox_;
  Consumer<TestInbox> consumer_;
  std::map<std::uint64_t, Delivery> seen_;
  std::jthread running_;
};

/// Publishes all to user.created and returns their sequences, once a consumer has settled them.
std::vector<std::uint64_t> settle(Scene& scene, const std::vector<Odd>& messages) {
  std::vector<std::uint64_t> sequences;
  for (const auto& message : messages)
    sequences.push_back(scene.js.publish("auth.events.user.created", message.data, message.headers).seq);
  REQUIRE_WITHIN(20s, scene.all_acked());
  return sequences;
}

}  // namespace

TEST_CASE("messages that are unusual and right are handled, with every header as it came") {
  Scene scene;
  Accounts accounts{scene};
  const std::string escaped_id = "has space, \xc3\xa4 and %";
  const std::vector<Odd> messages{
      {"the names in other case",
       {{"CE-ID", "upper"}, {"Ce-Type", "user.created"}, {"cE-sPecversion", "1.0"}, {"CE-EventVersion", "3"}},
       good_data,
       "upper"},
      {"the message id alone", {{"Nats-Msg-Id", "msg-id"}}, good_data, "msg-id"},
      {"the message id in other case", {{"nats-msg-id", "lower"}}, good_data, "lower"},
      {"no type, or an empty one", {{"ce-id", "empty-type"}, {"ce-type", ""}}, good_data, "empty-type"},
      {"a later specversion of the same major number",
       {{"ce-id", "one-one"}, {"ce-specversion", "1.1"}},
       good_data,
       "one-one"},
      {"bytes that are no UTF-8 in headers",
       {{"ce-id", "bytes"}, {"ce-source", "\xff\xfe"}, {"x-extra", "\x80 \xc3"}},
       good_data,
       "bytes"},
      {"an id that is no UTF-8", {{"ce-id", "id-\xff"}}, good_data, "id-\xff"},
      {"a percent-encoded id", {{"ce-id", "has%20space,%20%C3%A4%20and%20%25"}}, good_data, escaped_id},
      {"a long id", {{"ce-id", std::string(20'000, 'i')}}, good_data, std::string(20'000, 'i')},
      {"headers that nobody knows, twice",
       {{"ce-id", "twice"}, {"x-twice", "1"}, {"x-twice", "2"}, {"ce-unknown", "3"}},
       good_data,
       "twice"},
      {"space around the data", {{"ce-id", "space"}}, " \n" + good_data + "\r\n", "space"},
      {"structured mode",
       {{"Content-Type", structured}},
       R"({"specversion":"1.0","id":"whole","type":"user.created","data":)" + good_data + "}",
       "whole"},
      {"structured mode in other case, with parameters and unknown attributes",
       {{"content-type", "Application/CloudEvents+JSON; charset=UTF-8"}},
       R"({"data":)" + good_data + R"(,"x":[1],"eventversion":3,"id":"\u00e4","specversion":"1.0"})",
       "\xc3\xa4"},
      {"structured mode whose id is the message's",
       {{"content-type", structured}, {"Nats-Msg-Id", "outer"}},
       R"({"specversion":"1.0","type":"user.created","data":)" + good_data + "}",
       "outer"},
  };
  const auto sequences = settle(scene, messages);
  accounts.stop();
  CHECK(scene.dead_letters().empty());
  CHECK(accounts.seen().size() == messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    INFO(messages[i].what);
    const auto found = accounts.seen().find(sequences[i]);
    REQUIRE(found != accounts.seen().end());
    CHECK(found->second.event.id == messages[i].expected);
    for (const auto& sent : messages[i].headers)
      CHECK(std::ranges::count(found->second.headers, sent) == std::ranges::count(messages[i].headers, sent));
  }
}

TEST_CASE("messages that are wrong are dead letters that name what is wrong, as they came") {
  Scene scene;
  Accounts accounts{scene};
  const auto whole = [](const std::string& members) { return R"({"specversion":"1.0",)" + members + "}"; };
  const std::vector<Odd> messages{
      {"plain text with no headers", {}, "hello", "data: is not JSON"},
      {"nothing at all", {}, "", "data of user.created is empty"},
      {"an empty id", {{"ce-id", ""}}, "[7]", "data of user.created does not fit"},
      {"no data", {{"ce-id", "a"}}, "", "data of user.created is empty"},
      {"data that goes on", {{"ce-id", "b"}}, good_data + "}", "data: is not JSON"},
      {"data that is no UTF-8", {{"ce-id", "c"}}, "{\"name\": \"\xff\xfe\", \"n\": 7}", "UTF-8"},
      {"data with a NUL in it",
       {{"ce-id", "d"}},
       std::string("{\"name\": \"\0\", \"n\": 7}", 22),
       "data: is not JSON"},
      {"data of another shape", {{"ce-id", "e"}}, "[7]", "data of user.created does not fit"},
      {"data with a member missing", {{"ce-id", "f"}}, R"({"n": 7})", "name"},
      {"data that is null", {{"ce-id", "g"}}, "null", "data of user.created does not fit"},
      {"an unknown specversion",
       {{"ce-id", "h"}, {"ce-specversion", "2.0"}},
       good_data,
       "specversion: \"2.0\""},
      {"an event version that is no number",
       {{"ce-id", "i"}, {"ce-eventversion", "two"}},
       good_data,
       "ce-eventversion: \"two\" is not a 32-bit integer"},
      {"an event version that is too large",
       {{"ce-id", "j"}, {"CE-EVENTVERSION", "99999999999"}},
       good_data,
       "ce-eventversion: \"99999999999\""},
      {"metadata that is no object",
       {{"ce-id", "k"}, {"ce-metadata", "[1]"}},
       good_data,
       "ce-metadata: is not a JSON object"},
      {"a batch of structured mode, which is another format",
       {{"content-type", "application/cloudevents-batch+json"}},
       "[]",
       "data of user.created does not fit"},
      {"structured mode with text", {{"content-type", structured}}, "hello", "payload: is not a JSON object"},
      {"structured mode that is no UTF-8",
       {{"content-type", structured}},
       whole("\"id\":\"\xff\""),
       "payload: is not a JSON object"},
      {"structured mode without a version",
       {{"content-type", structured}},
       R"({"id":"l"})",
       "specversion: \"\""},
      {"structured mode without an id",
       {{"content-type", structured}},
       whole(R"("data":{})"),
       "does not fit"},
      {"structured mode with a wrong id",
       {{"content-type", structured}},
       whole(R"("id":5)"),
       "id: is not a string"},
      {"structured mode with a wrong event version",
       {{"content-type", structured}},
       whole(R"("id":"m","eventversion":"two")"),
       "eventversion: \"two\""},
      {"structured mode with bytes that are no JSON",
       {{"content-type", structured}},
       whole(R"("id":"n","data_base64":"AA==")"),
       "data: is not JSON"},
      {"structured mode without data",
       {{"content-type", structured}},
       whole(R"("id":"o")"),
       "data of user.created is empty"},
  };
  const auto sequences = settle(scene, messages);
  accounts.stop();
  CHECK(accounts.seen().empty());
  CHECK(accounts.stats().dead_lettered == messages.size());
  CHECK(accounts.stats().retried == 0);
  std::map<std::string, StoredMessage> letters;
  for (auto& letter : scene.dead_letters()) letters[letter.header("tidings-original-sequence")] = letter;
  CHECK(letters.size() == messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    INFO(messages[i].what);
    const auto& letter = letters[std::to_string(sequences[i])];
    CHECK_THAT(letter.header("tidings-reason"), ContainsSubstring(messages[i].expected));
    CHECK(letter.subject == "auth.dlq.mailer.user.created");
    CHECK(letter.data == messages[i].data);
    for (const auto& [name, value] : messages[i].headers) CHECK(letter.header(name) == value);
  }
}

TEST_CASE("messages without any id are told apart by where they lie in the stream") {
  Scene scene;
  Accounts accounts{scene};
  const auto whole = R"({"specversion":"1.0","data":)" + good_data + "}";
  const std::vector<Odd> messages{{"no headers", {}, good_data, ""},
                                  {"the same again", {}, good_data, ""},
                                  {"an empty id", {{"ce-id", ""}}, good_data, ""},
                                  {"structured mode", {{"content-type", structured}}, whole, ""}};
  const auto sequences = settle(scene, messages);
  accounts.stop();
  CHECK(accounts.stats().handled == messages.size());
  CHECK(accounts.stats().duplicates == 0);
  for (const auto sequence : sequences) {
    REQUIRE(accounts.seen().contains(sequence));
    CHECK(accounts.seen().at(sequence).event.id.starts_with("AUTH_EVENTS:" + std::to_string(sequence) + ":"));
  }
}

TEST_CASE("a message without an id that comes again has one effect, and one of a stream made anew another") {
  Scene scene;
  const auto handle_all = [&scene](std::uint64_t duplicates) {
    Instance instance{scene.inbox(), scene.options()};
    instance.start();
    REQUIRE_WITHIN(10s, scene.all_acked());
    CHECK(instance.stats().handled == 1 - duplicates);
    CHECK(instance.stats().duplicates == duplicates);
  };
  scene.js.publish("auth.events.user.created", "{}");
  handle_all(0);
  TestInbox{scene.inbox()}.exec("DELETE FROM inbox_position");  // it would begin behind the message
  scene.js.delete_consumer("AUTH_EVENTS", "mailer");
  handle_all(1);
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  scene.js.publish("auth.events.user.created", "{}");
  handle_all(0);
  CHECK(scene.effects().size() == 2);
}

TEST_CASE("the same id in bytes that are no UTF-8 is one event") {
  Scene scene;
  Accounts accounts{scene};
  settle(scene, {{"first", {{"ce-id", "\xff\xfe"}}, good_data, ""},
                 {"again", {{"ce-id", "\xff\xfe"}}, good_data, ""},
                 {"another", {{"ce-id", "\xff\xff"}}, good_data, ""}});
  accounts.stop();
  CHECK(accounts.stats().handled == 2);
  CHECK(accounts.stats().duplicates == 1);
}

TEST_CASE("a subject beside the prefix names the type, and one without a handler is ignored") {
  Scene scene;
  Accounts accounts{scene, ConsumerOptions::Filter::whole_stream};
  scene.js.publish("auth.events.user.created.v2", good_data, {{"ce-id", "longer"}});
  scene.js.publish("auth.events.x", good_data, {{"ce-id", "by-header"}, {"ce-type", "user.created"}});
  REQUIRE_WITHIN(10s, scene.all_acked());
  accounts.stop();
  CHECK(accounts.stats().ignored == 1);
  CHECK(accounts.stats().handled == 1);
}

TEST_CASE("a payload of 8 MB is handled, and is a dead letter whole") {
  Scene scene{"max_payload: 8MB"};
  // The rest is for headers.
  const std::string name((8U << 20U) - (64U << 10U), 'x');
  const auto data = [&name](int n) { return R"({"name":")" + name + R"(","n":)" + std::to_string(n) + "}"; };
  std::size_t handled_size = 0;
  auto options = scene.options();
  Instance instance{scene.inbox(), options, [&](const Delivery& delivery, Tx&) {
                      if (delivery.event.id == "poison") throw Reject("no such address");
                      handled_size = delivery.event.json().at("name").get<std::string>().size();
                    }};
  instance.start();
  scene.publish("small", R"({"name":""})");
  scene.publish("poison", data(1));
  scene.publish("large", data(2));
  REQUIRE_WITHIN(60s, instance.stats().handled == 2 || instance.ended());
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(handled_size == name.size());
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  const bool whole = letters[0].data == data(1);  // not to be printed
  CHECK(whole);
  CHECK(letters[0].header("tidings-reason") == "no such address");
  CHECK(letters[0].header("tidings-payload-left-out").empty());
}
