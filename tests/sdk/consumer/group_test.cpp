// The group that a consumer joins: made when it is missing, compared when it is there.

#include "support/catch.hpp"
#include "support/log.hpp"
#include "support/newer_nats.hpp"
#include "support/stream_scene.hpp"
#include "support/wait.hpp"

#include <tidings/error.hpp>
#include <tidings/stream.hpp>

#include <optional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using nlohmann::json;

namespace {

constexpr std::int64_t second = 1'000'000'000;

}  // namespace

TEST_CASE("a mirror or source that filters for other events is refused by who reads") {
  StreamScene broker;
  const auto* const kind = GENERATE("mirror", "sources");
  broker.js.add_stream("ORIGIN", {"auth.>"});
  json from{{"name", "ORIGIN"}, {"filter_subject", "auth.other.>"}};
  if (kind == std::string{"sources"}) from = json::array({from});
  broker.js.add_stream("AUTH_EVENTS", {}, {{kind, from}});
  // An older server knows no filter of a mirror (2.9.10).
  if (broker.js.stream_config("AUTH_EVENTS").dump().find("auth.other") == std::string::npos) return;
  CHECK_THAT(broker.fault({.use = StreamSpec::Use::read}),
             ContainsSubstring("has subjects auth.other.>, expected auth.events.>"));
}

TEST_CASE("a missing group is made as a pull consumer that misses nothing and drops nothing") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.>"});
  auto options = mailer();
  options.ack_wait = 7s;
  const auto group = join_group(broker.connection, options, all_events);
  CHECK_FALSE(group.push());
  CHECK(group.ack_wait == 7s);
  const auto config = broker.js.consumer_config("AUTH_EVENTS", "mailer");
  CHECK(config.at("durable_name") == "mailer");
  CHECK(config.at("deliver_policy") == "all");
  CHECK(config.at("ack_policy") == "explicit");
  CHECK(config.at("ack_wait") == 7 * second);
  CHECK(config.at("max_deliver") == -1);
  CHECK(config.at("filter_subject") == "auth.events.>");
  CHECK_FALSE(config.contains("deliver_subject"));
  CHECK_FALSE(config.contains("backoff"));
}

TEST_CASE("an existing group that fits is joined as it is") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  broker.js.add_consumer("AUTH_EVENTS", "mailer", {{"ack_wait", 3 * second}, {"max_ack_pending", 17}});
  const auto before = broker.js.consumer_config("AUTH_EVENTS", "mailer");
  const auto group = join_group(broker.connection, mailer(), all_events);
  CHECK(group.ack_wait == 3s);
  CHECK(broker.js.consumer_config("AUTH_EVENTS", "mailer") == before);
}

TEST_CASE("an existing push consumer with a deliver group is joined as one of that group") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  broker.js.add_consumer("AUTH_EVENTS", "mailer",
                         {{"deliver_subject", "to.mailers"}, {"deliver_group", "mailers"}});
  const auto group = join_group(broker.connection, mailer(), all_events);
  CHECK(group.push());
  CHECK(group.deliver_subject == "to.mailers");
  CHECK(group.deliver_group == "mailers");
}

TEST_CASE("a group that would lose or double events is refused, with the field and both values") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  struct Case {
    json config;
    std::vector<std::string> told;
  };
  const auto wrong = GENERATE(values<Case>({
      {{{"deliver_subject", "to.mailers"}}, {"deliver_subject", "to.mailers", "deliver_group"}},
      {{{"max_deliver", 5}}, {"max_deliver", "5", "-1"}},
      {{{"headers_only", true}}, {"headers_only", "true", "false"}},
      {{{"ack_policy", "none"}, {"deliver_subject", "to.mailers"}, {"deliver_group", "g"}},
       {"ack_policy", "none", "explicit"}},
      {{{"ack_policy", "all"}, {"deliver_subject", "to.mailers"}, {"deliver_group", "g"}},
       {"ack_policy", "all", "explicit"}},
  }));
  broker.js.add_consumer("AUTH_EVENTS", "mailer", wrong.config);
  const auto told = broker.group_fault(mailer());
  CHECK_THAT(told, ContainsSubstring("mailer"));
  for (const auto& part : wrong.told) CHECK_THAT(told, ContainsSubstring(part));
}

TEST_CASE(
    "a group that filters for other events is refused, and a narrower or wider filter is its owner's "
    "choice") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.>"});
  const auto fault_with = [&](const std::string& filter) {
    broker.js.add_consumer("AUTH_EVENTS", "mailer", {{"filter_subject", filter}});
    const auto told = broker.group_fault(mailer());
    broker.js.delete_consumer("AUTH_EVENTS", "mailer");
    return told;
  };
  CHECK_THAT(fault_with("auth.other.>"),
             ContainsSubstring("filter_subject auth.other.>, expected auth.events.>"));
  CHECK(fault_with("auth.events.user.created") == "none");
  CHECK(fault_with("auth.>") == "none");
}

TEST_CASE("what a group of another hand does differently is a warning with the field and both values") {
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  struct Case {
    json config;
    std::string told;
  };
  const auto is = GENERATE(values<Case>({
      {{{"inactive_threshold", 60 * second}}, "inactive_threshold 60000 ms, expected none"},
      {{{"replay_policy", "original"}}, "replay_policy original, expected instant"},
      {{{"mem_storage", true}}, "mem_storage true, expected false"},
      {json::object(), ""},
  }));
  broker.js.add_consumer("AUTH_EVENTS", "mailer", is.config);
  const Log log;
  CHECK(broker.group_fault(mailer()) == "none");
  if (is.told.empty())
    CHECK(log.text().empty());
  else
    CHECK_THAT(log.text(), ContainsSubstring("group mailer on the stream AUTH_EVENTS has " + is.told));
}

TEST_CASE("filters and a backoff that an older server does not know are judged as well") {
  const bool on_newer = GENERATE(true, false);
  std::optional<NatsProgram> chosen;
  if (on_newer) {
    const auto newer = newer_nats();
    if (!newer) return;
    chosen.emplace(*newer);
  }
  StreamScene broker;
  broker.js.add_stream("AUTH_EVENTS", {"auth.>"});
  const auto group_with = [&broker, on_newer](const json& config) {
    bool known = true;
    try {
      broker.js.add_consumer("AUTH_EVENTS", "mailer", config);
      const auto is = broker.js.consumer_config("AUTH_EVENTS", "mailer");
      for (const auto& [field, value] : config.items()) known = known && is.contains(field);
    } catch (const std::runtime_error&) {
      known = false;  // 2.9.10
    }
    if (on_newer) REQUIRE(known);
    return known;
  };
  if (group_with({{"filter_subjects", {"auth.other.>", "auth.more"}}}))
    CHECK_THAT(broker.group_fault(mailer()),
               ContainsSubstring("filter_subjects auth.other.>, auth.more, expected auth.events.>"));
  broker.js.delete_consumer("AUTH_EVENTS", "mailer");
  if (group_with({{"filter_subjects", {"auth.other.>", "auth.events.user.*"}}}))
    CHECK(broker.group_fault(mailer()) == "none");
  broker.js.delete_consumer("AUTH_EVENTS", "mailer");
  const Log log;
  if (group_with({{"backoff", {60 * second, 120 * second}}})) {
    CHECK(broker.group_fault(mailer()) == "none");
    CHECK_THAT(log.text(), ContainsSubstring("has backoff 60000 ms, 120000 ms, expected none"));
  }
}

TEST_CASE("a missing group that must not be made is an error, and a missing stream may still come") {
  StreamScene broker;
  auto options = mailer();
  options.manage_streams = false;
  try {
    (void)join_group(broker.connection, options, all_events);
    FAIL("there is no stream");
  } catch (const NatsError& error) {
    CHECK(error.retryable());
    CHECK_THAT(error.what(), ContainsSubstring("AUTH_EVENTS does not exist yet"));
  }
  broker.js.add_stream("AUTH_EVENTS", {"auth.events.>"});
  CHECK_THAT(broker.group_fault(options), ContainsSubstring("manage_streams"));
  CHECK_FALSE(broker.js.has_consumer("AUTH_EVENTS", "mailer"));
}
