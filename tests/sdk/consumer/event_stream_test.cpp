// Where a group begins that has to be made.

#include "consumer/event_stream.hpp"

#include "support/catch.hpp"

#include <tidings/error.hpp>

using namespace tidings;
using namespace tidings::test;
using std::chrono::hours;

namespace {

const Timestamp today = *parse_timestamp("2026-06-01T00:00:00Z");

EventStream stream(std::optional<hours> age = hours{24 * 365}) {
  EventStream stream;
  stream.name = "AUTH_EVENTS";
  stream.created = "2025";
  stream.last_sequence = 100;
  if (age) stream.oldest = today - *age;
  return stream;
}

ConsumerOptions mailer() {
  ConsumerOptions options;
  options.group = "mailer";
  return options;
}

}  // namespace

TEST_CASE("a group begins behind what its inbox knows to be settled on this stream") {
  CHECK(first_unsettled(stream(), mailer(), Inbox::Position{"2025", 41}, true, today) == 42);
  CHECK(first_unsettled(stream(), mailer(), Inbox::Position{"2025", 100}, true, today) == 101);
  CHECK(first_unsettled(stream(), mailer(), Inbox::Position{"2025", 0}, false, today) == 1);
}

TEST_CASE("a group begins with all of a stream that it has not read before") {
  CHECK(first_unsettled(stream(), mailer(), {}, false, today) == 0);
  CHECK(first_unsettled(stream(hours{24}), mailer(), Inbox::Position{"2019", 41}, true, today) == 0);
}

TEST_CASE("a group that does not know how far it had come begins with all when it remembers all") {
  CHECK(first_unsettled(stream(hours{24}), mailer(), {}, true, today) == 0);
  CHECK(first_unsettled(stream(std::nullopt), mailer(), {}, true, today) == 0);
}

TEST_CASE("a group that neither knows how far it had come nor remembers all is told what to do") {
  const auto told_at = [](const std::optional<Inbox::Position>& position) {
    return error_of<NatsError>([&] { (void)first_unsettled(stream(), mailer(), position, true, today); });
  };
  CHECK_THAT(told_at({}), ContainsSubstring("the group mailer is gone from the stream AUTH_EVENTS") &&
                              ContainsSubstring("nats consumer add AUTH_EVENTS mailer"));
  CHECK_THAT(told_at(Inbox::Position{"2019", 41}), ContainsSubstring("nats consumer add"));
  // A stream that was restored from a backup has lost its latest messages.
  CHECK_THAT(told_at(Inbox::Position{"2025", 101}), ContainsSubstring("nats consumer add"));
}
