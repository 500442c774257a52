#include "support/catch.hpp"
#include "support/environment.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_processor.hpp>

#include <cstdint>
#include <functional>
#include <string>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

TEST_CASE("options are constants until the environment is asked for") {
  const EnvironmentVariable lease{"OUTBOX_LEASE_MS", "2000"}, stream{"OUTBOX_STREAM", "SHOP_EVENTS"},
      source{"OUTBOX_SOURCE", "/shop"};
  CHECK(OutboxProcessorOptions{}.lease == 10s);
  CHECK(OutboxProcessorOptions{}.publisher.stream == "AUTH_EVENTS");
  CHECK(OutboxProcessorOptions{}.publisher.source == "auth-service");
  const auto options = OutboxProcessorOptions::from_environment();
  CHECK(options.publisher.source == "/shop");
  CHECK(options.lease == 2s);
  CHECK(options.publisher.stream == "SHOP_EVENTS");
  CHECK(options.retention == std::chrono::days{7});
}

TEST_CASE("each option has the limits that its setting has") {
  using Options = OutboxProcessorOptions;
  struct Case {
    std::string name;
    std::int64_t min, max;
    std::function<void(Options&, std::int64_t)> set;
  };
  const auto is = GENERATE(values<Case>({
      {"OUTBOX_PROCESSING_INTERVAL_MS", 10, 86'400'000,
       [](Options& o, auto value) { o.processing_interval = std::chrono::milliseconds{value}; }},
      {"OUTBOX_CLEANUP_INTERVAL_MS", 10, 2'592'000'000,
       [](Options& o, auto value) { o.cleanup_interval = std::chrono::milliseconds{value}; }},
      {"OUTBOX_RETENTION_DAYS", 0, 36500,
       [](Options& o, auto value) { o.retention = std::chrono::days{value}; }},
      {"OUTBOX_MAX_RETRIES", 1, 1000,
       [](Options& o, auto value) { o.max_retries = static_cast<int>(value); }},
      {"OUTBOX_PROCESSING_TIMEOUT_MS", 10, 86'400'000,
       [](Options& o, auto value) { o.processing_timeout = std::chrono::milliseconds{value}; }},
      {"OUTBOX_BATCH_SIZE", 1, 100'000,
       [](Options& o, auto value) { o.batch_size = static_cast<int>(value); }},
      {"OUTBOX_LEASE_MS", 500, 3'600'000,
       [](Options& o, auto value) { o.lease = std::chrono::milliseconds{value}; }},
      {"OUTBOX_STREAM_REPLICAS", 1, 5,
       [](Options& o, auto value) { o.stream_replicas = static_cast<int>(value); }},
      {"OUTBOX_PARTITIONS", 1, 99,
       [](Options& o, auto value) { o.publisher.partitions = static_cast<int>(value); }},
  }));
  for (const auto value : {is.min, is.max}) {
    Options options;
    is.set(options, value);
    CHECK_NOTHROW(options.validate());
    const EnvironmentVariable variable{is.name, std::to_string(value)};
    CHECK_NOTHROW(Options::from_environment());
  }
  for (const auto value : {is.min - 1, is.max + 1}) {
    const auto told = is.name + "=" + std::to_string(value) + ": takes a whole number from " +
                      std::to_string(is.min) + " to " + std::to_string(is.max);
    Options options;
    is.set(options, value);
    CHECK(error_of<SettingError>([&] { options.validate(); }) == told);
    const EnvironmentVariable variable{is.name, std::to_string(value)};
    CHECK(error_of<SettingError>([] { (void)Options::from_environment(); }) == told);
  }
}

TEST_CASE("a stream or a prefix that no event can go to is refused") {
  OutboxProcessorOptions options;
  options.publisher.subject_prefix = GENERATE("", "auth.*", "auth.>", "a b", ".auth", "auth.", "a..b");
  CHECK(error_of<SettingError>([&] { options.validate(); }) ==
        "OUTBOX_SUBJECT_PREFIX=" + options.publisher.subject_prefix + ": takes a subject without wildcards");
  options.publisher.subject_prefix = "shop.events";
  CHECK_NOTHROW(options.validate());
  options.publisher.stream =
      GENERATE(as<std::string>{}, "", "A B", "a.b", "A*", "A>", "a/b", "a\\b", "a\tb", std::string(256, 'x'));
  CHECK_THAT(error_of<SettingError>([&] { options.validate(); }),
             ContainsSubstring("OUTBOX_STREAM=" + options.publisher.stream + ": takes a name"));
  options.publisher.stream = std::string(255, 'x');
  CHECK_NOTHROW(options.validate());
  const EnvironmentVariable prefix{"OUTBOX_SUBJECT_PREFIX", "auth.*"};
  CHECK_THAT(error_of<SettingError>([] { (void)OutboxProcessorOptions::from_environment(); }),
             ContainsSubstring("OUTBOX_SUBJECT_PREFIX=auth.*: takes"));
}

TEST_CASE("a prefix of subjects that NATS itself answers on is refused: its stream would answer instead") {
  OutboxProcessorOptions options;
  options.publisher.subject_prefix = GENERATE("_INBOX", "_INBOX.events", "$JS.API", "$SYS", "$KV.users");
  CHECK(error_of<SettingError>([&] { options.validate(); }) ==
        "OUTBOX_SUBJECT_PREFIX=" + options.publisher.subject_prefix +
            ": takes a subject of your own; those that begin with $ or _INBOX are NATS's");
  options.publisher.subject_prefix = GENERATE("auth._INBOX", "_INBOXES", "_auth", "auth.$JS");
  CHECK_NOTHROW(options.validate());
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
  for (const std::size_t length : {0U, 256U}) {
    options = {};
    options.publisher.source = std::string(length, 's');
    CHECK_THAT(error_of<SettingError>([&] { options.validate(); }), ContainsSubstring("OUTBOX_SOURCE has"));
  }
}
