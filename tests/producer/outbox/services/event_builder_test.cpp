#include "services/event_builder.hpp"

#include "support/catch.hpp"
#include "support/log.hpp"

#include <nlohmann/json.hpp>

using namespace tidings;
using namespace tidings::test;

namespace {

OutboxEvent row(const std::string& event_data) {
  OutboxEvent made;
  made.id = "0198c5a2-0000-7000-8000-000000000001";
  made.aggregate_id = "user-1";
  made.aggregate_type = "User";
  made.event_type = "user.created";
  made.event_version = 3;
  made.event_data = event_data;
  made.occurred_at = *parse_timestamp("2026-01-31T08:15:30.123Z");
  return made;
}

Event event_of(const OutboxEvent& row) { return EventBuilder{"auth-service"}.build(row); }

}  // namespace

TEST_CASE("data goes out byte for byte, with its spaces, number forms and key order") {
  const std::string data = R"({ "z":1.10, "a" : 12345678901234567890123, "t":"a\"}{\\", "n":[ {"x":[]} ] })";
  const std::string text = R"( {"metadata" :{"source":"s"}, "data":)" + data + " , \"other\":null} ";
  const auto parts = EventData::split(text);
  CHECK(parts.data == data);
  CHECK(parts.metadata == R"({"source":"s"})");
}

TEST_CASE("data may be of any JSON kind") {
  const auto value = GENERATE(as<std::string>{}, "1", "-2.5e3", "true", "null",
                              R"("text, with } and \" in it")", "[1,[2]]", "{}");
  CHECK(EventData::split("{\"data\":" + value + "}").data == value);
  CHECK(EventData::split("{\"data\": " + value + " ,\"metadata\":{}}").data == value);
}

TEST_CASE("an object without data is all data") {
  CHECK(EventData::split(R"({"userId":"u"})").data == R"({"userId":"u"})");
  CHECK(EventData::split("{}").data == "{}");
  CHECK(EventData::split(R"({"nested":{"data":1}})").data == R"({"nested":{"data":1}})");
}

TEST_CASE("eventData that is no JSON object is refused with the reason") {
  const auto text = GENERATE(as<std::string>{}, "", "no json", "[1]", "1", R"({"data":)", R"({"data":1}})");
  CHECK_THROWS_AS(EventData::split(text), Undecodable);
}

TEST_CASE("a row becomes the event of the wire contract") {
  const auto event = event_of(row(
      R"({"data":{"userId":"user-1"},"metadata":{"source":"billing","action":"é","traceparent":"00-ab-cd-01","tracestate":"k=v"}})"));
  CHECK(event.id == "0198c5a2-0000-7000-8000-000000000001");
  CHECK(event.type == "user.created");
  CHECK(event.source == "billing");
  CHECK(event.aggregate_id == "user-1");
  CHECK(event.aggregate_type == "User");
  CHECK(event.version == 3);
  CHECK(event.time == "2026-01-31T08:15:30.123Z");
  CHECK(event.partition_key == "user-1");
  CHECK(event.traceparent == "00-ab-cd-01");
  CHECK(event.tracestate == "k=v");
  CHECK(event.data == R"({"userId":"user-1"})");
  CHECK(event.metadata ==
        R"({"source":"billing","action":"\u00e9","traceparent":"00-ab-cd-01","tracestate":"k=v"})");
}

TEST_CASE("the source is the service's unless metadata names another") {
  CHECK(EventBuilder{"/shop"}.build(row(R"({"data":1})")).source == "/shop");
  CHECK(EventBuilder{"/shop"}.build(row(R"({"data":1,"metadata":{"source":"billing"}})")).source ==
        "billing");
  CHECK(event_of(row(R"({"data":1})")).source == "auth-service");
  CHECK(event_of(row(R"({"data":1,"metadata":null})")).source == "auth-service");
  CHECK(event_of(row(R"({"data":1,"metadata":{"source":7}})")).source == "auth-service");
}

TEST_CASE("metadata goes out as it was written, on one line and in ASCII") {
  const std::string metadata =
      "{ \"z\": 12345678901234567890123,\r\n\t\"a b\": [1.10, 1e2 , \"\\\"{ \\n\\u00e9\", \"\xc3\xa9 "
      "\xf0\x9f\x98\x80\x7f\"], \"a\": -0 }";
  const auto event = event_of(row("{\"data\":1,\"metadata\":" + metadata + "}"));
  CHECK(
      event.metadata ==
      R"({"z":12345678901234567890123,"a b":[1.10,1e2,"\"{ \n\u00e9","\u00e9 \ud83d\ude00\u007f"],"a":-0})");
  CHECK(nlohmann::json::parse(event.metadata) == nlohmann::json::parse(metadata));
}

TEST_CASE("an event whose time is not known goes out without one, and that is told, but not each time") {
  EventBuilder builder{"auth-service"};
  auto without = row("{}");
  without.occurred_at.reset();
  const Log log;
  for (int i = 0; i < 1000; ++i) CHECK(builder.build(without).time.empty());
  CHECK(builder.build(row("{}")).time == "2026-01-31T08:15:30.123Z");
  CHECK_THAT(log.text(), ContainsSubstring(without.id) && ContainsSubstring("occurredAt cannot be read"));
  CHECK_THAT(log.text(), ContainsSubstring("events=512") && !ContainsSubstring("events=3 "));
}

TEST_CASE("a row with a defect is refused with it") {
  auto defective = row("{}");
  defective.defect = "eventVersion: x";
  CHECK_THROWS_WITH(event_of(defective), "eventVersion: x");
}

TEST_CASE("eventData that is nested too deeply is refused with that reason") {
  const auto nested = std::string(200000, '[') + std::string(200000, ']');
  CHECK_THROWS_WITH(event_of(row("{\"data\":" + nested + "}")), ContainsSubstring("nested deeper than 1000"));
}

TEST_CASE("metadata that is no object is refused") {
  CHECK_THROWS_WITH(event_of(row(R"({"data":1,"metadata":[1]})")),
                    tidings::test::ContainsSubstring("metadata"));
}

TEST_CASE("metadata that was read before is not mixed with the next") {
  EventBuilder builder{"auth-service"};
  const auto first = row(R"({"data":1,"metadata":{"source":"one","traceparent":"t"}})");
  CHECK(builder.build(first).source == "one");
  CHECK(builder.build(first).traceparent == "t");
  const auto& second = builder.build(row(R"({"data":1,"metadata":{"source":"two"}})"));
  CHECK(second.source == "two");
  CHECK(second.traceparent.empty());
  CHECK(builder.build(row(R"({"data":1})")).metadata == "{}");
  const auto wrong = row(R"({"data":1,"metadata":[]})");
  CHECK_THROWS_AS(builder.build(wrong), Undecodable);
  CHECK_THROWS_AS(builder.build(wrong), Undecodable);
  CHECK(builder.build(first).source == "one");
}
