#include "support/catch.hpp"
#include "support/environment.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_processor.hpp>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

TEST_CASE("options are constants until the environment is asked for") {
  const EnvironmentVariable lease{"OUTBOX_LEASE_MS", "2000"}, stream{"OUTBOX_STREAM", "SHOP_EVENTS"};
  CHECK(OutboxProcessorOptions{}.lease == 10s);
  CHECK(OutboxProcessorOptions{}.publisher.stream == "AUTH_EVENTS");
  const auto options = OutboxProcessorOptions::from_environment();
  CHECK(options.lease == 2s);
  CHECK(options.publisher.stream == "SHOP_EVENTS");
  CHECK(options.retention == std::chrono::days{7});
}

TEST_CASE(
    "an option outside of its limits is refused in the same words, from the environment and from code") {
  {
    const EnvironmentVariable retention{"OUTBOX_RETENTION_DAYS", "36501"};
    CHECK(error_of<SettingError>([] { (void)OutboxProcessorOptions::from_environment(); }) ==
          "OUTBOX_RETENTION_DAYS=36501: takes a whole number from 0 to 36500");
  }
  OutboxProcessorOptions options;
  CHECK_NOTHROW(options.validate());
  options.retention = std::chrono::days{36501};
  CHECK(error_of<SettingError>([&] { options.validate(); }) ==
        "OUTBOX_RETENTION_DAYS=36501: takes a whole number from 0 to 36500");
  options = {};
  options.backoff = {.base = 2s, .max = 1s};
  CHECK_THAT(error_of<SettingError>([&] { options.validate(); }),
             ContainsSubstring("OUTBOX_BACKOFF_MAX_MS=1000"));
  options = {};
  options.publisher.ack_timeout = 0ms;
  CHECK_THROWS_AS(options.validate(), SettingError);
}
