// The subject under which an event is published.

#include "nats/partition.hpp"
#include "support/catch.hpp"

#include <tidings/event.hpp>
#include <tidings/event_publisher.hpp>

#include <string>

using namespace tidings;

namespace {

OutboxEvent event(const std::string& type, const std::string& aggregate = "user-1") {
  OutboxEvent event;
  event.event_type = type;
  event.aggregate_id = aggregate;
  return event;
}

PublisherOptions in_partitions(int partitions) { return {.partitions = partitions}; }

}  // namespace

TEST_CASE("the subject is the prefix and the event's type") {
  CHECK(PublisherOptions{}.subject_of(event("user.created")) == "auth.events.user.created");
  CHECK(PublisherOptions{.subject_prefix = "shop"}.subject_of(event("paid", "")) == "shop.paid");
}

TEST_CASE("with partitions, that of the aggregate stands in front of the type") {
  CHECK(in_partitions(16).subject_of(event("user.created", "foobar")) == "auth.events.p08of16.user.created");
  CHECK(in_partitions(99).subject_of(event("order.paid", "foobar")) == "auth.events.p97of99.order.paid");
  CHECK(in_partitions(2).subject_of(event("user.created", "")) == "auth.events.p01of02.user.created");
  for (int i = 0; i < 50; ++i) {
    const auto id = "user-" + std::to_string(i);
    const auto created = in_partitions(16).subject_of(event("user.created", id));
    auto renamed = in_partitions(16).subject_of(event("user.renamed", id));
    CHECK(renamed.replace(renamed.find("renamed"), 7, "created") == created);
  }
}

TEST_CASE("an event type that makes no legal subject is refused") {
  const auto type = GENERATE(as<std::string>{}, "", "a b", "a.*", "a.>", ".a", "a.", "a..b", "tab\there",
                             std::string(300, 'x'), "1.2.3.4.5.6.7.8.9.10.11.12.13.14.15");
  const auto options = in_partitions(GENERATE(1, 16));
  CHECK_THROWS_AS(options.subject_of(event(type)), Undecodable);
}

TEST_CASE("a subject may have 255 characters and 16 parts, its partition among them") {
  const int partitions = GENERATE(1, 16);
  const auto options = in_partitions(partitions);
  const auto room =
      255 - std::string{"auth.events."}.size() - (partitions > 1 ? Partition::token_size + 1 : 0);
  CHECK(options.subject_of(event(std::string(room, 'x'))).size() == 255);
  CHECK_THROWS_WITH(options.subject_of(event(std::string(room + 1, 'x'))),
                    tidings::test::ContainsSubstring("255 characters or 16 parts"));
  std::string longest = "1";
  for (int part = 2; part <= (partitions > 1 ? 13 : 14); ++part) longest += "." + std::to_string(part);
  CHECK_NOTHROW(options.subject_of(event(longest)));
  CHECK_THROWS_AS(options.subject_of(event(longest + ".x")), Undecodable);
}
