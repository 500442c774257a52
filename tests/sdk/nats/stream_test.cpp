#include "consumer/group.hpp"
#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/log.hpp"
#include "support/nats_cluster.hpp"
#include "support/nats_server.hpp"
#include "support/stream_scene.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/stream.hpp>

#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

namespace {

constexpr std::int64_t second = 1'000'000'000;
}  // namespace

TEST_CASE("a missing stream is made with file storage and without limits") {
  StreamScene broker;
  ensure_stream(broker.connection, {.subjects = {"auth.events.>", "auth.more.>"}, .duplicate_window = 300s});
  const auto config = broker.js.stream_config("AUTH_EVENTS");
  CHECK(config.at("storage") == "file");
  CHECK(config.at("retention") == "limits");
  CHECK(config.at("subjects") == json({"auth.events.>", "auth.more.>"}));
  CHECK(config.at("duplicate_window") == 300 * second);
  CHECK(config.at("num_replicas") == 1);
  CHECK(config.value("max_age", 0) == 0);
  CHECK(config.at("max_msgs") == -1);
  CHECK(config.at("max_bytes") == -1);
}

TEST_CASE("a missing stream is made with the age limit that is asked for") {
  StreamScene broker;
  ensure_stream(broker.connection, {.max_age = 3600s});
  CHECK(broker.js.stream_config("AUTH_EVENTS").at("max_age") == 3600 * second);
}

TEST_CASE("an existing stream that fits is not changed") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.>", "other"},
                       {{"duplicate_window", 500 * second},
                        {"max_msgs", 12345},
                        {"max_age", 900 * second},
                        {"description", "by hand"}});
  const auto before = broker.js.stream_config("AUTH_EVENTS");
  broker.js.publish("auth.events.user.created", "{}");
  ensure_stream(broker.connection, {});
  CHECK(broker.js.stream_config("AUTH_EVENTS") == before);
  CHECK(broker.js.message_count("AUTH_EVENTS") == 1);
}

TEST_CASE("what differs is an error with the field and both values, and is not changed") {
  StreamScene broker;
  struct Case {
    std::vector<std::string> subjects;
    json config;
    std::vector<std::string> told;
    int replicas = 1;
  };
  const auto wrong = GENERATE(values<Case>({
      {{"auth.events.>"}, {{"storage", "memory"}}, {"storage", "memory", "file"}},
      {{"auth.events.user.>", "x"}, json::object(), {"subjects", "auth.events.user.>, x", "auth.events.>"}},
      {{"auth.events.>"},
       {{"duplicate_window", 30 * second}},
       {"duplicate_window", "30 s", "at least 120 s"}},
      {{"auth.events.>"}, {{"no_ack", true}}, {"no_ack", "true", "false"}},
      {{"auth.events.>"}, {{"retention", "interest"}}, {"retention interest, expected limits"}},
      {{"auth.events.>"}, {{"max_msgs_per_subject", 1}}, {"max_msgs_per_subject 1, expected none"}},
      {{"auth.events.>"},
       {{"max_msgs_per_subject", 1}, {"discard", "new"}},
       {"max_msgs_per_subject 1, expected none"}},
      {{"auth.events.>"}, json::object(), {"num_replicas 1, expected at least 3"}, 3},
  }));
  broker.js.add_stream("AUTH_EVENTS", wrong.subjects, wrong.config);
  const auto before = broker.js.stream_config("AUTH_EVENTS");
  const auto told = broker.fault({.replicas = wrong.replicas});
  CHECK_THAT(told, ContainsSubstring("AUTH_EVENTS"));
  for (const auto& part : wrong.told) CHECK_THAT(told, ContainsSubstring(part));
  CHECK(broker.js.stream_config("AUTH_EVENTS") == before);
}

TEST_CASE("a sealed stream takes no events, and can be read") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  auto config = broker.js.stream_config("AUTH_EVENTS");
  config["sealed"] = true;
  broker.js.api("STREAM.UPDATE.AUTH_EVENTS", config);
  CHECK_THAT(broker.fault({}), ContainsSubstring("AUTH_EVENTS has sealed true, expected false"));
  CHECK(broker.fault({.use = StreamSpec::Use::read}) == "none");
}

TEST_CASE("a stream that refuses what is too much, or serves one group, is published to") {
  StreamScene broker;
  const auto config = GENERATE(
      values<json>({{{"max_msgs_per_subject", 1}, {"discard", "new"}, {"discard_new_per_subject", true}},
                    {{"retention", "workqueue"}},
                    {{"max_msgs_per_subject", 1000}},
                    {{"max_msgs", 100}, {"discard", "new"}}}));
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, config);
  CHECK(broker.fault({}) == "none");
}

TEST_CASE("a stream is made with the replicas that are asked for, and more than are asked for are fine") {
  NatsCluster cluster;
  ConnectionOptions options;
  options.urls = {cluster.server(0).url()};
  Connection connection{options};
  ensure_stream(connection, {.replicas = 3});
  auto& js = cluster.client();
  CHECK(js.stream_config("AUTH_EVENTS").at("num_replicas") == 3);
  CHECK_NOTHROW(ensure_stream(connection, {.replicas = 2}));
  CHECK(js.stream_config("AUTH_EVENTS").at("num_replicas") == 3);
  CHECK_THAT(error_of<NatsError>([&] { ensure_stream(connection, {.replicas = 5}); }),
             ContainsSubstring("num_replicas 3, expected at least 5"));
}

TEST_CASE("replicas on a server that is in no cluster are an error that waiting does not help against") {
  StreamScene broker;
  const auto told = broker.fault({.replicas = 3});
  CHECK_THAT(told, ContainsSubstring("AUTH_EVENTS with 3 replicas"));
  CHECK_THAT(told, ContainsSubstring("OUTBOX_STREAM_REPLICAS"));
  CHECK_FALSE(broker.js.has_stream("AUTH_EVENTS"));
}

TEST_CASE("several that make the same stream at once all succeed") {
  StreamScene broker;
  std::vector<std::string> errors(6);
  {
    std::vector<std::jthread> threads;
    for (auto& error : errors)
      threads.emplace_back([&] {
        Connection connection{options_of(broker.server.url())};
        // Of the first requests ever that reach a server 2.9.10 at the same time, some get no answer.
        (void)eventually(10s, [&] {
          try {
            ensure_stream(connection, {});
            error.clear();
            return true;
          } catch (const NatsError& caught) {
            error = caught.what();
            return !caught.retryable();
          }
        });
      });
  }
  for (const auto& error : errors) CHECK(error == "");
}

TEST_CASE("a server without JetStream is an error that may pass") {
  NatsServer server{{.config = {}, .arguments = {}, .jetstream = false, .monitoring = false}};
  Connection connection{options_of(server.url())};
  try {
    ensure_stream(connection, {});
    FAIL("there is no JetStream");
  } catch (const NatsError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring("AUTH_EVENTS"));
    CHECK_THAT(error.what(), ContainsSubstring("nats-server -js"));
  }
  const auto told = error_of<NatsError>([&] { (void)join_group(connection, mailer(), all_events); });
  CHECK_THAT(told, ContainsSubstring("nats-server -js"));
}

TEST_CASE("an account without JetStream is told what to turn on") {
  NatsServer server{{.config = "accounts { SHOP { users: [ { user: bob, password: word } ] } }",
                     .arguments = {},
                     .jetstream = true,
                     .monitoring = false}};
  auto options = options_of(server.url());
  options.user = "bob";
  options.password = "word";
  Connection connection{options};
  CHECK_THAT(error_of<NatsError>([&] { ensure_stream(connection, {}); }),
             ContainsSubstring("jetstream: enabled"));
}

TEST_CASE("what a stream discards before a group has seen it is a warning with the fields and their values") {
  StreamScene broker;
  struct Case {
    json config;
    std::string told;
  };
  const auto is = GENERATE(values<Case>({
      {{{"retention", "interest"}}, "AUTH_EVENTS has retention interest, expected"},
      {{{"retention", "workqueue"}}, "AUTH_EVENTS has retention workqueue, expected"},
      {{{"max_msgs_per_subject", 1}}, "AUTH_EVENTS has max_msgs_per_subject 1, expected"},
      {{{"max_msgs", 100}, {"max_bytes", 200000}},
       "AUTH_EVENTS has max_msgs 100, max_bytes 200000, expected"},
      {{{"max_age", 900 * second}}, "AUTH_EVENTS has max_age 900 s, expected"},
      {{{"max_msgs", 100}, {"discard", "new"}}, ""},
      {{{"max_msgs_per_subject", 7}, {"discard", "new"}}, "AUTH_EVENTS has max_msgs_per_subject 7, expected"},
      {{{"max_msgs_per_subject", 7}, {"discard", "new"}, {"discard_new_per_subject", true}}, ""},
      {{{"max_age", 7 * 24 * 3600 * second}}, ""},
      {json::object(), ""},
  }));
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, is.config);
  CHECK(broker.fault({.use = StreamSpec::Use::read}) == "none");
  const Log log;
  warn_of_discards(broker.connection, "AUTH_EVENTS");
  if (is.told.empty())
    CHECK(log.text().empty());
  else
    CHECK_THAT(log.text(), ContainsSubstring(is.told));
}

TEST_CASE("a mirror is to be read, and takes no events") {
  StreamScene broker;
  broker.js.add_stream("ORIGIN", {"auth.>"});
  broker.js.add_stream("AUTH_EVENTS", {}, {{"mirror", {{"name", "ORIGIN"}}}});
  CHECK(broker.fault({.use = StreamSpec::Use::read}) == "none");
  CHECK_THAT(broker.fault({}), ContainsSubstring("has mirror ORIGIN, expected none"));
}
