#include "nats/permission_errors.hpp"

#include "support/catch.hpp"

#include <chrono>
#include <string>

using namespace tidings;
using namespace std::chrono_literals;

namespace {

const PermissionErrors::Time start{1000s};

std::string publish_to(const std::string& subject) {
  return "Permissions Violation for Publish to \"" + subject + "\"";
}

}  // namespace

TEST_CASE("the same permission error is news once a minute") {
  PermissionErrors refusals;
  CHECK(refusals.add(publish_to("a"), start));
  CHECK_FALSE(refusals.add(publish_to("a"), start + 59s));
  CHECK(refusals.add(publish_to("b"), start + 59s));
  CHECK(refusals.add(publish_to("a"), start + 60s));
  CHECK_FALSE(refusals.add(publish_to("a"), start + 61s));
}

TEST_CASE("refused acks are one permission error, whatever the numbers in their subjects") {
  PermissionErrors refusals;
  CHECK(refusals.add(publish_to("$JS.ACK.AUTH_EVENTS.mailer.1.9.9.1700000000000.0"), start));
  CHECK_FALSE(refusals.add(publish_to("$JS.ACK.AUTH_EVENTS.mailer.1.10.10.1700000000001.0"), start));
  CHECK(refusals.add(publish_to("$JS.ACK.AUTH_EVENTS.other.1.10.10.1700000000001.0"), start));
}

TEST_CASE("a thousand refused subjects do not flood the log") {
  PermissionErrors refusals;
  int told = 0;
  for (int i = 0; i < 1000; ++i)
    told += refusals.add(publish_to(std::string(1 + static_cast<std::size_t>(i), 'x')), start) ? 1 : 0;
  CHECK(told == 64);
  CHECK(refusals.add(publish_to("y"), start + 1min));
}

TEST_CASE("the latest permission error is remembered for as long as asked, told or not") {
  PermissionErrors refusals;
  CHECK(refusals.latest(10s, start) == "");
  refusals.add(publish_to("a1"), start);
  refusals.add(publish_to("a2"), start + 1s);
  CHECK(refusals.latest(10s, start + 11s) == publish_to("a2"));
  CHECK(refusals.latest(10s, start + 11s + 1ms) == "");
}

TEST_CASE("the latest permission error that concerns somebody is found among those of others") {
  PermissionErrors refusals;
  const auto concerns = [](std::string_view text) { return text.find("mine") != std::string_view::npos; };
  refusals.add(publish_to("mine.1"), start);
  for (int i = 0; i < 1000; ++i) refusals.add(publish_to("others." + std::to_string(i)), start + 1s);
  CHECK(refusals.latest(10s, start + 2s) == publish_to("others.999"));
  CHECK(refusals.latest(10s, start + 2s, concerns) == publish_to("mine.1"));
  refusals.add(publish_to("mine.2"), start + 3s);
  CHECK(refusals.latest(10s, start + 3s, concerns) == publish_to("mine.2"));
  CHECK(refusals.latest(10s, start + 14s, concerns) == "");
}

TEST_CASE("a refused advisory is told, and is no reason for what waits") {
  PermissionErrors refusals;
  refusals.add(publish_to("a"), start);
  CHECK(
      refusals.add("Permissions Violation for Subscription to "
                   "\"$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.AUTH_EVENTS.mailer\"",
                   start + 1s));
  CHECK(refusals.latest(10s, start + 1s) == publish_to("a"));
}

TEST_CASE("the refused subject is what stands between the quotes") {
  CHECK(refused_subject(publish_to("auth.events.user.created")) == "auth.events.user.created");
  CHECK(refused_subject("Permissions Violation for Subscription to \"a.>\" using queue \"q\"") == "a.>");
  CHECK(refused_subject("Permissions Violation").empty());
  CHECK(refused_subject("Permissions \"Violation").empty());
}
