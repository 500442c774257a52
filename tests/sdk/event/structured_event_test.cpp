// CloudEvents in structured mode: the message is one JSON document, of any size and depth.

#include "support/catch.hpp"
#include "support/decoding.hpp"

#include <tidings/event.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <string>

using namespace tidings::test;
using tidings::decode;
using tidings::Event;
using tidings::Headers;
using tidings::Undecodable;

namespace {

nlohmann::json structured_event() {
  return {{"specversion", "1.0"},
          {"id", "e-1"},
          {"type", "user.created"},
          {"source", "auth-service"},
          {"subject", "user-1"},
          {"time", "2026-01-31T08:15:30.123Z"},
          {"datacontenttype", "application/json"},
          {"aggregatetype", "User"},
          {"eventversion", 2},
          {"partitionkey", "tenant-1"},
          {"data", {{"userId", "user-1"}}},
          {"metadata", R"({"correlationId":"c-1"})"}};
}

Event decode_structured(const nlohmann::json& document) {
  return tidings::decode(structured, document.dump());
}

}  // namespace

TEST_CASE("structured mode is read whole") {
  const auto event = decode_structured(structured_event());
  CHECK(event.id == "e-1");
  CHECK(event.type == "user.created");
  CHECK(event.source == "auth-service");
  CHECK(event.aggregate_id == "user-1");
  CHECK(event.aggregate_type == "User");
  CHECK(event.version == 2);
  CHECK(event.time == "2026-01-31T08:15:30.123Z");
  CHECK(event.partition_key == "tenant-1");
  CHECK(event.data == R"({"userId":"user-1"})");
  CHECK(nlohmann::json::parse(event.metadata) == nlohmann::json{{"correlationId", "c-1"}});
}

TEST_CASE("structured mode is known by its content type, in any case and with parameters") {
  const auto payload = structured_event().dump();
  for (const Headers& headers : {Headers{{"Content-Type", "application/cloudevents+json"}},
                                 Headers{{"CONTENT-TYPE", "application/cloudevents+json; charset=UTF-8"}},
                                 Headers{{"content-type", "Application/CloudEvents+JSON"}}})
    CHECK(decode(headers, payload, "other").id == "e-1");
}

TEST_CASE("structured mode may leave out what has a stand-in") {
  const auto event = decode({{"Content-Type", "application/cloudevents+json"}, {"nats-msg-id", "m-1"}},
                            R"({"specversion":"1.0","subject":"user-1","data":null})", "user.created");
  CHECK(event.id == "m-1");
  CHECK(event.type == "user.created");
  CHECK(event.partition_key == "user-1");
  CHECK(event.version == 1);
  CHECK(event.metadata == "{}");
  CHECK(event.data == "null");
}

TEST_CASE("structured mode keeps the order of the data's members, and numbers of any size") {
  const std::string data = GENERATE(as<std::string>{}, R"({"z":1,"a":[true,null,"x"]})", "\"text\"", "3",
                                    "18446744073709551615", "1.5");
  const auto payload = R"({"specversion":"1.0","id":"e-1","type":"t","data":)" + data + "}";
  CHECK(decode(structured, payload, "").data == data);
}

TEST_CASE("structured mode keeps its data as it is written, escapes in names or not, and the last of two") {
  const std::string data = "{ \"b\" : 1.50,\n\"a\":[ ],\"b\":2 }";
  const auto event = decode(structured,
                            "\xef\xbb\xbf {\"specversion\":\"1.0\",\"id\":\"old\",\"data\":1,"
                            " \"\\u0069d\":\"n\\u00e9w\",\"type\":\"t\",\"data\": " +
                                data + " }",
                            "");
  CHECK(event.id == "n\u00e9w");
  CHECK(event.data == data);
}

TEST_CASE("structured mode with many members is read in a time that grows with its size only") {
  std::string members;
  for (int i = 0; i < 40000; ++i) members += ",\"m" + std::to_string(i) + "\":1";
  const auto in = [](const std::string& payload) {
    const auto begun = std::chrono::steady_clock::now();
    CHECK(decode(structured, payload, "").id == "e-1");
    return std::chrono::steady_clock::now() - begun;
  };
  const std::string head = R"({"specversion":"1.0","id":"e-1","type":"t")";
  CHECK(in(head + R"(,"data":{"n":0)" + members + "}}") < std::chrono::milliseconds{500});
  CHECK(in(head + R"(,"metadata":{"n":0)" + members + "}}") < std::chrono::milliseconds{500});
  CHECK(in(head + members + "}") < std::chrono::milliseconds{500});
}

TEST_CASE("data that is nested deeper than 1000 levels is undecodable in both modes") {
  const auto nested = [](std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  const auto json_of = [](const std::string& data) {
    Event event;
    event.data = data;
    return event.json();
  };
  CHECK(json_of(nested(1000)).size() == 1);
  CHECK(json_of("\"" + std::string(5000, '[') + "\\\"" + std::string(5000, '{') + "\"").is_string());
  const auto whole = [](const std::string& name, const std::string& value) {
    return R"({"specversion":"1.0","id":"e","type":"t",")" + name + "\":" + value + "}";
  };
  CHECK(decode(structured, whole("data", nested(1000)), "").data == nested(1000));
  for (const std::size_t levels : {1001U, 200000U}) {
    CHECK_THAT(error_of<Undecodable>([&] { (void)json_of(nested(levels)); }),
               ContainsSubstring("data: is nested deeper than 1000 levels"));
    for (const std::string name : {"data", "metadata", "other"})
      CHECK_THAT(complaint(structured, whole(name, nested(levels))),
                 ContainsSubstring("payload: is nested deeper than 1000 levels"));
    CHECK_THAT(
        complaint({{"ce-id", "e"}, {"ce-type", "t"}, {"ce-metadata", R"({"m":)" + nested(levels) + "}"}}),
        ContainsSubstring("metadata: is nested deeper than 1000 levels"));
  }
  CHECK_THAT(error_of<Undecodable>([&] { (void)json_of(std::string(200000, '[')); }),
             ContainsSubstring("data: "));
}

TEST_CASE("structured mode names the attribute that is wrong") {
  const auto complain = [](const char* attribute, const nlohmann::json& value) {
    auto document = structured_event();
    document[attribute] = value;
    return complaint(structured, document.dump());
  };
  for (const char* attribute : {"id", "type", "source", "subject", "time", "aggregatetype", "partitionkey"})
    CHECK_THAT(complain(attribute, 5), ContainsSubstring(attribute));
  for (const nlohmann::json& version : {nlohmann::json("two"), nlohmann::json(true), nlohmann::json(1.5),
                                        nlohmann::json(4294967297), nlohmann::json(18446744073709551615U)})
    CHECK_THAT(complain("eventversion", version), ContainsSubstring("eventversion"));
  CHECK_THAT(complain("specversion", "0.3"), ContainsSubstring("specversion"));
  CHECK_THAT(complain("specversion", nullptr), ContainsSubstring("specversion"));
  CHECK_THAT(complain("metadata", "[1]"), ContainsSubstring("metadata"));
  CHECK_THAT(complain("metadata", 5), ContainsSubstring("metadata"));
  CHECK_THAT(complain("data_base64", "AA=="), ContainsSubstring("data_base64: is there beside data"));
  for (const nlohmann::json& bytes : {nlohmann::json("AA"), nlohmann::json(5)}) {
    auto document = structured_event();
    document.erase("data");
    document["data_base64"] = bytes;
    CHECK_THAT(complaint(structured, document.dump()), ContainsSubstring("data_base64: is not base64"));
  }
  CHECK_THAT(complain("datacontenttype", 5), ContainsSubstring("datacontenttype: is not a string"));
  CHECK_THAT(complain("id", ""), ContainsSubstring("id"));
  CHECK_THAT(complain("type", ""), ContainsSubstring("type"));
}

TEST_CASE("structured mode that is no JSON object is undecodable") {
  for (const std::string payload : {"", "{", "[]", "5", "{\"id\":\"\xff\"}"}) {
    INFO(payload);
    CHECK_THAT(complaint(structured, payload), ContainsSubstring("payload"));
  }
}
