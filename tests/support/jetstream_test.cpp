#include "support/jetstream.hpp"

#include "support/nats_server.hpp"
#include "support/wait.hpp"

#include <algorithm>
#include <stdexcept>

using namespace tidings::test;

namespace {

struct Fixture {
  NatsServer server;
  JetStream js{server.url()};
};

}  // namespace

TEST_CASE_METHOD(Fixture, "messages come back with their headers and bytes, as they were stored") {
  js.add_stream("ORDERS", {"orders.>", "returns.*"});
  const std::string data{"\0\xff\"\n{} ", 8};
  const std::vector<std::pair<std::string, std::string>> headers{
      {"Nats-Msg-Id", "a"}, {"b-Mixed", "1: 2"}, {"A", "\xc3\xa9"}};
  CHECK(js.publish("orders.made", data, headers).seq == 1);
  CHECK(js.publish("orders.made", "again", headers).duplicate);
  CHECK(js.publish("returns.made", "").seq == 2);

  const auto messages = js.messages("ORDERS");
  REQUIRE(messages.size() == 2);
  CHECK(messages[0].seq == 1);
  CHECK(messages[0].subject == "orders.made");
  CHECK(messages[0].data == data);
  CHECK(std::is_permutation(messages[0].headers.begin(), messages[0].headers.end(), headers.begin(),
                            headers.end()));
  CHECK(messages[0].header("b-Mixed") == "1: 2");
  CHECK(messages[0].header("B-MIXED").empty());
  CHECK(messages[1].data.empty());
  CHECK(messages[1].headers.empty());
}

TEST_CASE_METHOD(Fixture, "thousands of messages are read in order, without those deleted") {
  js.add_stream("ORDERS", {"orders.>"}, {{"storage", "memory"}});
  constexpr std::uint64_t count = 5000;
  for (std::uint64_t i = 1; i <= count; ++i) js.publish("orders.made", std::to_string(i));
  js.api("STREAM.MSG.DELETE.ORDERS", {{"seq", 17}});

  const auto messages = js.messages("ORDERS");
  REQUIRE(messages.size() == count - 1);
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < messages.size(); ++i) {
    const auto seq = i < 16 ? i + 1 : i + 2;
    if (messages[i].seq != seq || messages[i].data != std::to_string(seq)) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE_METHOD(Fixture, "a stream is made as asked, and emptied, and deleted") {
  js.add_stream("ORDERS", {"orders.>"}, {{"max_msg_size", 10}, {"duplicate_window", 1'000'000'000}});
  const auto config = js.stream_config("ORDERS");
  CHECK(config.at("storage") == "file");
  CHECK(config.at("max_msg_size") == 10);
  CHECK(config.at("duplicate_window") == 1'000'000'000);
  CHECK_THAT(error_of<std::runtime_error>([this] { js.publish("orders.made", "longer than ten"); }),
             ContainsSubstring("maximum"));

  js.publish("orders.made", "1");
  CHECK(js.message_count("ORDERS") == 1);
  js.purge("ORDERS");
  CHECK(js.message_count("ORDERS") == 0);
  CHECK(js.messages("ORDERS").empty());
  js.delete_stream("ORDERS");
  CHECK_FALSE(js.has_stream("ORDERS"));
  CHECK_THAT(error_of<std::runtime_error>([this] { (void)js.messages("ORDERS"); }),
             ContainsSubstring("not found"));
}

TEST_CASE_METHOD(Fixture, "publishing where no stream listens is an error") {
  CHECK_THAT(error_of<std::runtime_error>([this] { js.publish("nowhere", "1"); }),
             ContainsSubstring("nowhere"));
}

TEST_CASE_METHOD(Fixture, "a consumer tells what is pending") {
  js.add_stream("ORDERS", {"orders.>"});
  js.add_consumer("ORDERS", "mailer", {{"max_ack_pending", 7}});
  for (int i = 0; i < 3; ++i) js.publish("orders.made", std::to_string(i));
  CHECK(js.consumer("ORDERS", "mailer").num_pending == 3);
  CHECK(js.consumer("ORDERS", "mailer").delivered == 0);
  CHECK(js.consumer_config("ORDERS", "mailer").at("max_ack_pending") == 7);
  CHECK(js.has_consumer("ORDERS", "mailer"));
  js.delete_consumer("ORDERS", "mailer");
  CHECK_FALSE(js.has_consumer("ORDERS", "mailer"));
}
