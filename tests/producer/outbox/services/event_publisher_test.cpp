#include "nats/handle.hpp"
#include "support/broker.hpp"
#include "support/catch.hpp"
#include "support/gate.hpp"
#include "support/imitated_leader.hpp"
#include "support/sized_json.hpp"
#include "support/tcp_proxy.hpp"
#include "support/wait.hpp"

#include <tidings/event_publisher.hpp>
#include <tidings/stream.hpp>

#include <atomic>
#include <functional>
#include <map>
#include <memory>

using namespace tidings;
using namespace tidings::test;
using Kind = PublishResult::Kind;

namespace {

OutboxEvent event(const std::string& id, const std::string& data = R"({"name":"Zoë"})") {
  OutboxEvent made;
  made.id = id;
  made.aggregate_id = "user 1";
  made.aggregate_type = "User";
  made.event_type = "user.created";
  made.event_data =
      R"({"data":)" + data + R"(,"metadata":{"source":"auth-service","action":"user.register"}})";
  made.occurred_at = *parse_timestamp("2026-01-31T08:15:30.123Z");
  return made;
}

struct Publishing {
  explicit Publishing(const std::string& url, PublisherOptions options = {},
                      std::function<void()> on_result = {})
      : connection(ConnectionOptions{.urls = {url}}),
        publisher(connection, std::move(options), [this, on_result = std::move(on_result)] {
          ++wakes;
          if (on_result) on_result();
        }) {}

  /// Waits until every publish has its result.
  std::map<std::uint64_t, PublishResult> results() {
    std::map<std::uint64_t, PublishResult> all;
    REQUIRE_WITHIN(10s, [&] {
      std::vector<PublishResult> some;
      publisher.collect(some);
      for (auto& result : some) REQUIRE(all.emplace(result.token, result).second);
      return publisher.in_flight() == 0;
    }());
    return all;
  }

  Connection connection;
  std::atomic<int> wakes{0};
  EventPublisher publisher;
};

/// Messages that nats.c has read from the connection.
std::uint64_t received_by(const Connection& connection) {
  natsStatistics* raw = nullptr;
  REQUIRE(natsStatistics_Create(&raw) == NATS_OK);
  const std::unique_ptr<natsStatistics, Deleter<natsStatistics_Destroy>> statistics{raw};
  std::uint64_t messages = 0;
  REQUIRE(natsConnection_GetStats(native(connection), raw) == NATS_OK);
  REQUIRE(natsStatistics_GetCounts(raw, &messages, nullptr, nullptr, nullptr, nullptr) == NATS_OK);
  return messages;
}

}  // namespace

TEST_CASE("a published event has the subject, headers and payload of the contract") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Publishing to{broker.server.url()};
  to.publisher.publish(1, event("id-1"));
  to.publisher.publish(2, event("id-2"));
  const auto results = to.results();
  CHECK(results.at(1).kind == Kind::stored);
  CHECK(results.at(2).kind == Kind::stored);
  CHECK(to.wakes > 0);

  const auto messages = broker.jetstream.messages("AUTH_EVENTS");
  REQUIRE(messages.size() == 2);
  const auto& message = messages[0];
  CHECK(message.subject == "auth.events.user.created");
  CHECK(message.data == R"({"name":"Zoë"})");
  const std::vector<std::pair<std::string, std::string>> expected{
      {"Nats-Msg-Id", "auth-service/id-1"},
      {"ce-specversion", "1.0"},
      {"ce-id", "id-1"},
      {"ce-type", "user.created"},
      {"ce-source", "auth-service"},
      {"ce-subject", "user%201"},
      {"ce-time", "2026-01-31T08:15:30.123Z"},
      {"content-type", "application/json"},
      {"ce-aggregatetype", "User"},
      {"ce-eventversion", "1"},
      {"ce-partitionkey", "user%201"},
      {"ce-metadata", R"({"source":"auth-service","action":"user.register"})"}};
  for (const auto& [name, value] : expected) CHECK(message.header(name) == value);
  CHECK(message.headers.size() == expected.size());
}

TEST_CASE("an event that the stream has already is stored, once") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Publishing to{broker.server.url()};
  to.publisher.publish(1, event("same"));
  to.publisher.publish(2, event("same"));
  const auto results = to.results();
  CHECK(results.at(1).kind == Kind::stored);
  CHECK(results.at(2).kind == Kind::stored);
  CHECK(broker.jetstream.message_count("AUTH_EVENTS") == 1);
}

TEST_CASE("an event that the stream refuses says why, and those behind it are stored") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  Publishing to{broker.server.url()};
  to.publisher.publish(1, event("a"));
  to.publisher.publish(2, event("b", json_of_size(2000)));
  to.publisher.publish(3, event("c"));
  const auto results = to.results();
  CHECK(results.at(1).kind == Kind::stored);
  CHECK(results.at(2).kind == Kind::refused);
  CHECK_THAT(results.at(2).error, tidings::test::ContainsSubstring("message size exceeds maximum allowed"));
  CHECK(results.at(3).kind == Kind::stored);
  CHECK(broker.jetstream.message_count("AUTH_EVENTS") == 2);
}

TEST_CASE("an event goes out when it is as large as the server takes, and not when it is larger by a byte") {
  NatsServer server{{.config = "max_payload: 4096"}};
  JetStream jetstream{server.url()};
  jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Publishing to{server.url()};
  const auto of_size = [](std::size_t size) { return "\"" + std::string(size - 2, 'x') + "\""; };
  to.publisher.publish(1, event("a", of_size(1000)));
  REQUIRE(to.results().at(1).kind == Kind::stored);
  std::size_t headers = std::string("NATS/1.0\r\n\r\n").size();
  const auto stored = jetstream.messages("AUTH_EVENTS");
  for (const auto& [name, value] : stored.at(0).headers)
    headers += name.size() + value.size() + std::string(": \r\n").size();
  to.publisher.publish(2, event("b", of_size(4096 - headers)));
  to.publisher.publish(3, event("c", of_size(4097 - headers)));
  const auto results = to.results();
  CHECK(results.at(2).kind == Kind::stored);
  CHECK(results.at(3).kind == Kind::refused);
}

TEST_CASE("what is wrong with the event itself is refused without a round trip") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  Publishing to{broker.server.url()};
  auto unreadable = event("u");
  unreadable.event_data = "no json";
  auto no_subject = event("s");
  no_subject.event_type = "user created";
  auto line_break = event("line\r\nbreak");
  to.publisher.publish(1, unreadable);
  to.publisher.publish(2, no_subject);
  to.publisher.publish(3, line_break);
  to.publisher.publish(4, event("big", "\"" + std::string(1100000, 'x') + "\""));
  const auto results = to.results();
  for (std::uint64_t token = 1; token <= 4; ++token) CHECK(results.at(token).kind == Kind::refused);
  CHECK_THAT(results.at(4).error, tidings::test::ContainsSubstring("max_payload"));
  CHECK(broker.jetstream.message_count("AUTH_EVENTS") == 0);
}

TEST_CASE("a missing stream, a full one and a server without JetStream are transient errors") {
  Broker broker;
  Publishing to{broker.server.url()};
  to.publisher.publish(1, event("a"));
  CHECK(to.results().at(1).kind == Kind::transient);

  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msgs", 1}, {"discard", "new"}});
  to.publisher.publish(2, event("b"));
  CHECK(to.results().at(2).kind == Kind::stored);
  to.publisher.publish(3, event("c"));
  const auto full = to.results().at(3);
  CHECK(full.kind == Kind::transient);
  CHECK_THAT(full.error, tidings::test::ContainsSubstring("maximum messages exceeded"));

  NatsServer plain{{.jetstream = false}};
  Publishing elsewhere{plain.url()};
  elsewhere.publisher.publish(1, event("a"));
  CHECK(elsewhere.results().at(1).kind == Kind::transient);
}

TEST_CASE("a lost PubAck is reported at its deadline, and a repeat is known to the stream") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  TcpProxy proxy{broker.server.port()};
  Publishing to{proxy.url(), {.ack_timeout = 200ms}};
  proxy.swallow_from_server(true);
  to.publisher.publish(1, event("a"));
  const auto lost = to.results().at(1);
  CHECK(lost.kind == Kind::transient);
  CHECK(lost.error == "no PubAck in time");
  REQUIRE_WITHIN(5s, broker.jetstream.message_count("AUTH_EVENTS") == 1);

  proxy.cut();
  proxy.swallow_from_server(false);
  REQUIRE_WITHIN(5s, to.connection.generation() > 0 && to.connection.connected());
  std::uint64_t token = 2;
  const auto known = [&] {  // an answer may again take longer than 200 ms on a busy machine
    to.publisher.publish(token, event("a"));
    return to.results().at(token++).kind == Kind::stored;
  };
  REQUIRE_WITHIN(10s, known());
  CHECK(broker.jetstream.message_count("AUTH_EVENTS") == 1);
}

TEST_CASE("a cut connection reports what was in flight at once") {
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  TcpProxy proxy{broker.server.port()};
  Publishing to{proxy.url(), {.ack_timeout = 60s}};
  proxy.swallow_from_server(true);
  for (std::uint64_t token = 0; token < 100; ++token)
    to.publisher.publish(token, event("e" + std::to_string(token)));
  proxy.cut();
  for (const auto& [token, result] : to.results()) CHECK(result.kind == Kind::transient);
}

TEST_CASE("what was acknowledged before a cut counts, though it is read after it") {
  constexpr std::uint64_t events = 3000;
  Broker broker;
  broker.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"});
  TcpProxy proxy{broker.server.port()};
  Gate gate;
  Publishing to{proxy.url(), {.ack_timeout = 60s}, [&gate] { gate.pass(); }};
  for (std::uint64_t token = 0; token < events; ++token)
    to.publisher.publish(token, event("e" + std::to_string(token)));
  REQUIRE_WITHIN(20s, received_by(to.connection) >= events);
  proxy.cut();
  REQUIRE_WITHIN(10s, to.connection.generation() == 1);
  gate.open();
  for (const auto& [token, result] : to.results()) CHECK(result.kind == Kind::stored);
}

TEST_CASE("a leader that has been given an event and does not say that it has it is a transient error") {
  // As one answers that is cut off from the others and is asked again; with another text since 2.11.
  const auto answer = GENERATE(
      as<std::string>{}, R"({"stream":"AUTH_EVENTS","seq":0,"duplicate": true})",
      R"({"stream":"AUTH_EVENTS", "seq": 0, "duplicate":true})",
      R"({"error":{"code":409,"err_code":10158,"description":"duplicate message id is in process"}})",
      R"({"error":{"code":429,"err_code":10210,"description":"atomic publish too many inflight"}})");
  NatsServer server;
  ImitatedLeader leader{server.url(), "auth.events.>", answer};
  Publishing publishing{server.url()};
  publishing.publisher.publish(1, event("a"));
  CHECK(publishing.results().at(1).kind == Kind::transient);
}
