#include "support/catch.hpp"
#include "support/decoding.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>

using namespace tidings::test;
using tidings::decode;
using tidings::encode;
using tidings::Event;
using tidings::Headers;
using tidings::Undecodable;
using tidings::WireMessage;

namespace {

Event user_created() {
  Event event;
  event.id = "0194b5f0-1111-7000-8000-000000000001";
  event.type = "user.created";
  event.source = "auth-service";
  event.aggregate_id = "user-1";
  event.aggregate_type = "User";
  event.version = 2;
  event.time = "2026-01-31T08:15:30.123Z";
  event.partition_key = "user-1";
  event.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  event.tracestate = "vendor=value";
  event.data = R"({"userId":"user-1","name":"Ada"})";
  event.metadata = R"({"source":"auth-service","correlationId":"c-1"})";
  return event;
}

void check_same(const Event& left, const Event& right) {
  CHECK(left.id == right.id);
  CHECK(left.type == right.type);
  CHECK(left.source == right.source);
  CHECK(left.aggregate_id == right.aggregate_id);
  CHECK(left.aggregate_type == right.aggregate_type);
  CHECK(left.version == right.version);
  CHECK(left.time == right.time);
  CHECK(left.partition_key == right.partition_key);
  CHECK(left.traceparent == right.traceparent);
  CHECK(left.tracestate == right.tracestate);
  CHECK(left.data == right.data);
  CHECK(nlohmann::json::parse(left.metadata) == nlohmann::json::parse(right.metadata));
}

Event decode(const WireMessage& message) { return tidings::decode(message.headers, message.payload); }

}  // namespace

TEST_CASE("an event is encoded in binary mode with the headers of the contract") {
  const auto message = encode(user_created());
  const Headers expected{{"Nats-Msg-Id", "0194b5f0-1111-7000-8000-000000000001"},
                         {"ce-specversion", "1.0"},
                         {"ce-id", "0194b5f0-1111-7000-8000-000000000001"},
                         {"ce-type", "user.created"},
                         {"ce-source", "auth-service"},
                         {"ce-subject", "user-1"},
                         {"ce-time", "2026-01-31T08:15:30.123Z"},
                         {"content-type", "application/json"},
                         {"ce-aggregatetype", "User"},
                         {"ce-eventversion", "2"},
                         {"ce-partitionkey", "user-1"},
                         {"ce-metadata", R"({"source":"auth-service","correlationId":"c-1"})"},
                         {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
                         {"tracestate", "vendor=value"}};
  auto headers = message.headers;
  std::ranges::sort(headers);
  auto sorted = expected;
  std::ranges::sort(sorted);
  CHECK(headers == sorted);
  CHECK(message.payload == R"({"userId":"user-1","name":"Ada"})");
}

TEST_CASE("what is encoded is decoded to the same event") {
  check_same(decode(encode(user_created())), user_created());
}

TEST_CASE("data passes byte for byte, JSON or not") {
  auto event = user_created();
  event.data = GENERATE(as<std::string>{}, "", " { \"a\" : 1.0 }\n", "not JSON", std::string{"\0\r\n\xff", 4},
                        "{\"name\":\"Z\xc3\xbcrich\"}", "[1,2,", "12345678901234567890123");
  CHECK(encode(event).payload == event.data);
  CHECK(decode(encode(event)).data == event.data);
}

TEST_CASE("attributes with any text survive the trip through header values") {
  const auto text = GENERATE(as<std::string>{}, "with space", " leading and trailing ", "100% \"quoted\"",
                             "%41%", "Z\xc3\xbcrich \xe2\x82\xac", "line\r\nX-Injected: 1",
                             "tab\tnul" + std::string(1, '\0'), "\x7f\x01", "a:b,c;d=e", "\xff\xfe");
  INFO(text);
  auto event = user_created();
  event.type = event.source = event.aggregate_id = event.aggregate_type = event.partition_key = text;
  const auto message = encode(event);
  for (const auto& [name, value] : message.headers) {
    INFO(name << ": " << value);
    CHECK(std::ranges::all_of(value, [](char letter) { return letter >= ' ' && letter <= '~'; }));
    CHECK(value == std::string{value.c_str()});
    CHECK(value.front() != ' ');
    CHECK(value.back() != ' ');
  }
  check_same(decode(message), event);
}

TEST_CASE("trace context and time pass unchanged or are refused, and never become another header") {
  auto event = user_created();
  event.tracestate = "vendor=a b,other=%41";
  CHECK(decode(encode(event)).tracestate == event.tracestate);

  const std::string hostile = "00\r\nX-Injected: 1";
  const auto member = GENERATE(&Event::time, &Event::traceparent, &Event::tracestate);
  auto injecting = user_created();
  injecting.*member = hostile;
  try {
    for (const auto& [name, value] : encode(injecting).headers)
      CHECK(value.find_first_of("\r\n") == std::string::npos);
  } catch (const Undecodable&) {
    SUCCEED("refused");
  }
}

TEST_CASE("metadata in other letters than ASCII keeps its numbers and their order") {
  auto event = user_created();
  event.metadata = R"({"z": 12345678901234567890123, "name": "Zürich", "a": 1.10})";
  const auto message = tidings::encode(event);
  CHECK(tidings::header(message.headers, "ce-metadata") ==
        R"({"z":12345678901234567890123,"name":"Z\u00fcrich","a":1.10})");
}

TEST_CASE("metadata is a JSON object on one line, whatever its text looked like") {
  auto event = user_created();
  event.metadata = "{\n  \"name\": \"Z\xc3\xbcrich, 100%\",\r\n  \"lines\": \"a\\nb\"\n}";
  const auto message = encode(event);
  const std::string value{tidings::header(message.headers, "ce-metadata")};
  CHECK(value.find_first_of("\r\n") == std::string::npos);
  CHECK(nlohmann::json::parse(decode(message).metadata) == nlohmann::json::parse(event.metadata));
}

TEST_CASE("empty attributes make no header") {
  Event event;
  event.id = "e-1";
  event.type = "user.created";
  event.metadata.clear();
  for (const auto& [name, value] : encode(event).headers) {
    INFO(name);
    CHECK_FALSE(value.empty());
  }
  const auto decoded = decode(encode(event));
  CHECK(decoded.source.empty());
  CHECK(decoded.aggregate_id.empty());
  CHECK(decoded.time.empty());
  CHECK(decoded.traceparent.empty());
  CHECK(decoded.version == 1);
  CHECK(decoded.metadata == "{}");
}

TEST_CASE("an id that cannot be a header value is refused by name") {
  auto event = user_created();
  event.id = GENERATE(as<std::string>{}, "", "two\nlines", "a\r", std::string("nul\0", 4), "\x7f");
  CHECK_THAT(error_of<Undecodable>([&] { (void)encode(event); }), ContainsSubstring("id"));
}

TEST_CASE("header names are read in any case") {
  auto message = encode(user_created());
  for (auto& [name, value] : message.headers)
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  check_same(decode(message), user_created());
  for (auto& [name, value] : message.headers)
    std::ranges::transform(name, name.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  check_same(decode(message), user_created());
}

TEST_CASE("a stream knows an event by its source too, unless the id is a UUID") {
  const auto message_id = [](const std::string& id, const std::string& source) {
    Event event;
    event.id = id;
    event.source = source;
    return std::string{tidings::header(encode(event).headers, "Nats-Msg-Id")};
  };
  const std::string uuid = "0194b5f0-1111-7000-8000-000000000001";
  CHECK(message_id(uuid, "/shop") == uuid);
  CHECK(message_id("7", "/shop") == "/shop/7");
  CHECK(message_id("7", "auth service\n") == "auth%20service%0A/7");
  CHECK(message_id("7", "") == "7");
}

TEST_CASE("Nats-Msg-Id and the subject stand in for a missing or empty id and type") {
  for (const Headers& headers :
       {Headers{{"Nats-Msg-Id", "m-1"}}, Headers{{"Nats-Msg-Id", "m-1"}, {"ce-id", ""}, {"ce-type", ""}}}) {
    const auto event = decode(headers, "{}", "user.created");
    CHECK(event.id == "m-1");
    CHECK(event.type == "user.created");
  }
  const auto event =
      decode({{"Nats-Msg-Id", "m-1"}, {"ce-id", "e-1"}, {"ce-type", "user.renamed"}}, "{}", "user.created");
  CHECK(event.id == "e-1");
  CHECK(event.type == "user.renamed");
}

TEST_CASE("without a partition key, events of one aggregate keep their order") {
  const Headers headers{{"ce-id", "e-1"}, {"ce-type", "t"}, {"ce-subject", "user-1"}};
  CHECK(decode(headers, "{}", "").partition_key == "user-1");
}

TEST_CASE("a message without an id or a type is undecodable, and says so") {
  CHECK_THAT(complaint({{"ce-type", "t"}}), ContainsSubstring("id"));
  CHECK_THAT(complaint({{"ce-type", "t"}, {"ce-id", ""}, {"Nats-Msg-Id", ""}}), ContainsSubstring("id"));
  CHECK_THAT(complaint({{"ce-id", "e-1"}}), ContainsSubstring("type"));
  CHECK_THAT(complaint({}), ContainsSubstring("id"));
}

TEST_CASE("an attribute with a wrong value is named, with the value") {
  const auto complain = [](const std::string& name, const std::string& value) {
    return complaint({{"ce-id", "e-1"}, {"ce-type", "t"}, {name, value}});
  };
  for (const std::string version : {"two", "1.5", "", "99999999999", "1 "})
    CHECK_THAT(complain("ce-eventversion", version),
               ContainsSubstring("eventversion") && ContainsSubstring(version));
  CHECK_THAT(complain("ce-specversion", "0.3"), ContainsSubstring("specversion") && ContainsSubstring("0.3"));
  for (const std::string metadata : {"[1]", "text", "{", "null"})
    CHECK_THAT(complain("ce-metadata", metadata), ContainsSubstring("metadata"));
}

TEST_CASE("a percent sign that starts no code is taken as it is") {
  const auto source = [](const std::string& value) {
    return decode({{"ce-id", "e-1"}, {"ce-type", "t"}, {"ce-source", value}}, "{}", "").source;
  };
  CHECK(source("100%") == "100%");
  CHECK(source("%4") == "%4");
  CHECK(source("%zz") == "%zz");
  CHECK(source("%41%c3%BC") == "A\xc3\xbc");
}

TEST_CASE("the payload of binary mode is parsed when it is asked for") {
  const Headers headers{{"ce-id", "e-1"}, {"ce-type", "t"}};
  CHECK(decode(headers, R"({"a":[1]})", "").json().at("a").at(0) == 1);
  const auto broken = decode(headers, "{\"a\":", "");
  CHECK_THAT(error_of<Undecodable>([&] { (void)broken.json(); }), ContainsSubstring("data"));
}

TEST_CASE("data that is no JSON comes as it was sent, with its type") {
  const auto whole = [](const std::string& members) {
    return decode(structured, R"({"specversion":"1.0","id":"e-1","type":"t",)" + members + "}", "");
  };
  const std::string bytes("\x00\xff\x01", 3);
  CHECK(whole(R"("data_base64":"AP8B")").data == bytes);
  CHECK(whole(R"("data_base64":"AP8B","datacontenttype":"image/png")").content_type == "image/png");
  CHECK(whole(R"("data":"a \"b\"","datacontenttype":"text/plain")").data == "a \"b\"");
  CHECK(whole(R"("data":"text","datacontenttype":"Application/Problem+JSON; q=1")").data == "\"text\"");
  CHECK(whole(R"("data":{"a":1},"datacontenttype":"text/xml")").data == R"({"a":1})");
  CHECK(whole(R"("data_base64":"")").data.empty());

  auto event = user_created();
  CHECK(decode(encode(event)).content_type.empty());
  event.content_type = "image/png";
  event.data = bytes;
  const auto decoded = decode(encode(event));
  CHECK(decoded.content_type == "image/png");
  CHECK(decoded.data == bytes);
}

TEST_CASE("what is undecodable is not worth trying again") {
  try {
    (void)decode({}, "", "");
    FAIL("decoded");
  } catch (const tidings::Error& error) {
    CHECK_FALSE(error.retryable());
  }
}

TEST_CASE("of two content types the first counts, and no event goes out as a whole document") {
  const auto event = decode({{"ce-id", "a"},
                             {"ce-type", "b"},
                             {"Content-Type", "text/plain"},
                             {"content-type", "application/cloudevents+json"}},
                            "text");
  CHECK(event.content_type == "text/plain");
  CHECK(decode(encode(event)).content_type == "text/plain");
  auto whole = event;
  whole.content_type = "application/cloudevents+json";
  CHECK_THROWS_AS(encode(whole), Undecodable);
}

TEST_CASE("a header is looked up in any case, the first of its name") {
  const Headers headers{{"Other", "0"}, {"X-Key", "1"}, {"x-key", "2"}};
  CHECK(tidings::header(headers, "x-KEY") == "1");
  CHECK(tidings::header(headers, "x-ke").empty());
  CHECK(tidings::header(headers, "missing").empty());
  CHECK(tidings::header({}, "any").empty());
}
