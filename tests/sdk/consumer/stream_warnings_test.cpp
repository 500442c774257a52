// What a consumer tells at its start of the stream that it reads.

#include "support/consuming.hpp"
#include "support/log.hpp"

using namespace tidings;
using namespace tidings::test;

TEST_CASE("a consumer of a stream that discards what it has not seen says so at its start, and works") {
  struct Case {
    nlohmann::json config;
    std::string told;
  };
  const auto is = GENERATE(values<Case>({
      {{{"retention", "interest"}}, "stream AUTH_EVENTS has retention interest, expected"},
      {{{"max_msgs_per_subject", 1}}, "stream AUTH_EVENTS has max_msgs_per_subject 1, expected"},
      {{{"max_msgs", 100}}, "stream AUTH_EVENTS has max_msgs 100, expected"},
      {nlohmann::json::object(), ""},
  }));
  const bool manages = GENERATE(true, false);
  INFO(is.config.dump() << " manages " << manages);
  Scene scene;
  scene.js.delete_stream("AUTH_EVENTS");
  scene.js.add_stream("AUTH_EVENTS", {"auth.events.>"}, is.config);
  scene.js.add_consumer("AUTH_EVENTS", "mailer");
  scene.publish("one");
  auto options = scene.options();
  options.manage_streams = manages;
  const Log log;
  {
    Instance instance{scene.inbox(), options};
    instance.start();
    REQUIRE_WITHIN(10s, instance.stats().handled == 1);
  }
  const auto told = log.text();
  if (is.told.empty()) {
    CHECK_THAT(told, !ContainsSubstring("expected retention limits"));
    return;
  }
  CHECK_THAT(told, ContainsSubstring("warning") && ContainsSubstring(is.told));
  CHECK(told.find(is.told) == told.rfind(is.told));
}
