#include "support/catch.hpp"
#include "support/environment.hpp"

#include <tidings/consumer_options.hpp>
#include <tidings/error.hpp>

#include <chrono>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

TEST_CASE("a consumer's options read the environment only when they are asked to") {
  const EnvironmentVariable url{"NATS_URL", "nats://one:1,nats://two:2"};
  const EnvironmentVariable group{"CONSUMER_GROUP", "mailer"}, stream{"OUTBOX_STREAM", "SHOP"};
  const EnvironmentVariable prefix{"OUTBOX_SUBJECT_PREFIX", "shop"}, replicas{"OUTBOX_STREAM_REPLICAS", "3"};
  const EnvironmentVariable attempts{"CONSUMER_MAX_ATTEMPTS", "7"}, wait{"CONSUMER_ACK_WAIT_MS", "2500"};
  const EnvironmentVariable start{"CONSUMER_START", "2026-01-31T09:15:30+01:00"};
  const EnvironmentVariable base{"CONSUMER_BACKOFF_BASE_MS", "20"}, max{"CONSUMER_BACKOFF_MAX_MS", "400"};

  const ConsumerOptions plain{.group = "other"};
  CHECK(plain.group == "other");
  CHECK(plain.stream == "AUTH_EVENTS");
  CHECK(plain.max_attempts == 5);
  CHECK(plain.connection.urls == std::vector<std::string>{"nats://localhost:4222"});

  const auto options = ConsumerOptions::from_environment();
  CHECK(options.group == "mailer");
  CHECK(options.stream == "SHOP");
  CHECK(options.subject_prefix == "shop");
  CHECK(options.replicas == 3);
  CHECK(options.max_attempts == 7);
  CHECK(options.start.at == Start::At::since);
  CHECK(to_iso8601(options.start.time) == "2026-01-31T08:15:30.000Z");
  CHECK(options.ack_wait == 2500ms);
  CHECK(options.backoff.base == 20ms);
  CHECK(options.backoff.max == 400ms);
  CHECK(options.connection.urls == std::vector<std::string>{"nats://one:1", "nats://two:2"});
  CHECK_NOTHROW(options.validate());
}

TEST_CASE("dead letters go to a stream that is named after that of the events, unless settings name it") {
  struct Case {
    std::string stream, subject_prefix, letters, prefix;
  };
  const auto is = GENERATE(values<Case>({
      {"AUTH_EVENTS", "auth.events", "AUTH_DLQ", "auth.dlq"},
      {"ORDER_EVENTS", "order.events", "ORDER_DLQ", "order.dlq"},
      {"ORDER_EVENTS", "auth.events", "ORDER_DLQ", "order.dlq"},
      {"SHOP", "shop", "SHOP_DLQ", "dlq.shop"},  // shop.dlq would be an event's subject
      {"SHOP", "shop.events", "SHOP_DLQ", "shop.dlq"},
  }));
  ConsumerOptions options{.group = "mailer", .stream = is.stream, .subject_prefix = is.subject_prefix};
  CHECK_NOTHROW(options.validate());
  options.follow_stream();
  CHECK(options.dead_letter_stream == is.letters);
  CHECK(options.dead_letter_prefix == is.prefix);

  const EnvironmentVariable letters{"CONSUMER_DLQ_STREAM", "GRAVES"};
  auto named = ConsumerOptions::from_environment();
  named.stream = is.stream;
  named.follow_stream();
  CHECK(named.dead_letter_stream == "GRAVES");
  CHECK(named.dead_letter_prefix == "graves.dlq");
  const EnvironmentVariable prefix{"CONSUMER_DLQ_PREFIX", "six.feet"};
  CHECK(ConsumerOptions::from_environment().dead_letter_prefix == "six.feet");
}

TEST_CASE("a group whose dead letters would come back to it is refused, with what to do instead") {
  struct Case {
    std::string stream, subject_prefix, letters, prefix, told;
  };
  const auto is = GENERATE(values<Case>({
      {"AUTH_DLQ", "auth.dlq", "", "", "ConsumerOptions::stream=AUTH_DLQ"},
      {"AUTH_DLQ", "auth.dlq", "AUTH_DLQ", "", "ConsumerOptions::stream=AUTH_DLQ"},
      {"SHOP", "shop", "SHOP", "shop.dlq", "ConsumerOptions::stream=SHOP"},
      // Another stream, which may have these subjects from a source.
      {"RETRIES", "auth.dlq", "AUTH_DLQ", "", "ConsumerOptions::dead_letter_prefix=auth.dlq"},
      {"RETRIES", "auth", "AUTH_DLQ", "auth.dlq", "ConsumerOptions::dead_letter_prefix=auth.dlq"},
      {"RETRIES", "auth.dlq.mailer", "AUTH_DLQ", "", "ConsumerOptions::dead_letter_prefix=auth.dlq"},
  }));
  const ConsumerOptions options{.group = "mailer",
                                .stream = is.stream,
                                .subject_prefix = is.subject_prefix,
                                .dead_letter_stream = is.letters,
                                .dead_letter_prefix = is.prefix};
  const auto told = error_of<SettingError>([&] { options.validate(); });
  CHECK_THAT(told, ContainsSubstring(is.told));
  CHECK_THAT(told, ContainsSubstring("tidings dlq redrive"));
}

TEST_CASE("prefixes that NATS uses itself are refused, for events and for dead letters") {
  const std::string prefix = GENERATE("$JS.API", "$SYS", "_INBOX", "_INBOX.answers");
  const auto told = ": takes a subject of your own; those that begin with $ or _INBOX are NATS's";
  const ConsumerOptions events{.group = "mailer", .subject_prefix = prefix};
  CHECK_THAT(error_of<SettingError>([&] { events.validate(); }),
             ContainsSubstring("ConsumerOptions::subject_prefix=" + prefix + told));
  const ConsumerOptions letters{.group = "mailer", .dead_letter_prefix = prefix};
  CHECK_THAT(error_of<SettingError>([&] { letters.validate(); }),
             ContainsSubstring("ConsumerOptions::dead_letter_prefix=" + prefix + told));
  const ConsumerOptions own{.group = "mailer", .subject_prefix = "_INBOXES"};
  CHECK_NOTHROW(own.validate());
}

TEST_CASE(
    "a limit is the same in code, where the option is named, and in the environment, where the variable is") {
  ConsumerOptions options{.group = "mailer"};
  options.max_attempts = 1001;
  CHECK_THAT(error_of<SettingError>([&] { options.validate(); }),
             ContainsSubstring("ConsumerOptions::max_attempts=1001: takes 1 to 1000"));
  const EnvironmentVariable attempts{"CONSUMER_MAX_ATTEMPTS", "1001"};
  CHECK_THAT(error_of<SettingError>([] { (void)ConsumerOptions::from_environment(); }),
             ContainsSubstring("CONSUMER_MAX_ATTEMPTS=1001: takes a whole number from 1 to 1000"));
}

TEST_CASE("a new group begins with all, with what is new, or at a time") {
  const auto begins = [](const char* text) {
    const EnvironmentVariable start{"CONSUMER_START", text};
    return ConsumerOptions::from_environment().start.at;
  };
  CHECK(ConsumerOptions::from_environment().start.at == Start::At::all);
  CHECK(begins("all") == Start::At::all);
  CHECK(begins("new") == Start::At::now);
  CHECK(begins("2026-01-31T08:15:30Z") == Start::At::since);
  CHECK_THAT(error_of<SettingError>([&] { (void)begins("yesterday"); }),
             ContainsSubstring("CONSUMER_START=yesterday: takes all, new or a time"));
}

TEST_CASE("a group is handed the types with handlers, or the whole stream") {
  using Filter = ConsumerOptions::Filter;
  const auto filter = [](const char* text) {
    const EnvironmentVariable set{"CONSUMER_FILTER", text};
    return ConsumerOptions::from_environment().filter;
  };
  CHECK(ConsumerOptions::from_environment().filter == Filter::by_type);
  CHECK(filter("by_type") == Filter::by_type);
  CHECK(filter("whole_stream") == Filter::whole_stream);
  CHECK_THAT(error_of<SettingError>([&] { (void)filter("none"); }),
             ContainsSubstring("CONSUMER_FILTER=none: takes by_type or whole_stream"));
}
