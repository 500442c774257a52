#include "nats/acknowledgement.hpp"

#include "support/catch.hpp"

#include <limits>
#include <string>

using tidings::AckSubject;

TEST_CASE("an ack subject of nine tokens says all about its delivery") {
  const auto ack = AckSubject::parse("$JS.ACK.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5");
  REQUIRE(ack.has_value());
  CHECK(ack->stream == "AUTH_EVENTS");
  CHECK(ack->consumer == "mailer");
  CHECK(ack->delivered == 3);
  CHECK(ack->stream_sequence == 17);
  CHECK(ack->consumer_sequence == 42);
  CHECK(ack->stored_at_ns == 1700000000123456789);
  CHECK(ack->pending == 5);
}

TEST_CASE("an ack subject with domain and account says the same, with and without tokens after it") {
  const std::string subject =
      GENERATE(as<std::string>{}, "$JS.ACK._.d3adbeef.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5",
               "$JS.ACK.hub.d3adbeef.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5.r4nd0m",
               "$JS.ACK.hub.d3adbeef.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5.r4nd0m.later",
               "$JS.ACK.hub.d3adbeef.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5.a.b.c.d.e.f.g.h.i.j.k");
  INFO(subject);
  const auto ack = AckSubject::parse(subject);
  REQUIRE(ack.has_value());
  CHECK(ack->stream == "AUTH_EVENTS");
  CHECK(ack->consumer == "mailer");
  CHECK(ack->delivered == 3);
  CHECK(ack->stream_sequence == 17);
  CHECK(ack->consumer_sequence == 42);
  CHECK(ack->stored_at_ns == 1700000000123456789);
  CHECK(ack->pending == 5);
}

TEST_CASE("the largest numbers of an ack subject are read, and larger ones make it none") {
  const auto most = std::numeric_limits<std::uint64_t>::max();
  const auto ack = AckSubject::parse("$JS.ACK.S.g.18446744073709551615.18446744073709551615.1.1.1");
  REQUIRE(ack.has_value());
  CHECK(ack->delivered == most);
  CHECK(ack->stream_sequence == most);

  CHECK_FALSE(AckSubject::parse("$JS.ACK.S.g.18446744073709551616.1.1.1.1"));
  CHECK_FALSE(AckSubject::parse("$JS.ACK.S.g.1.18446744073709551616.1.1.1"));
  CHECK_FALSE(AckSubject::parse("$JS.ACK.S.g.1.1.1.9223372036854775808.1"));  // the time is signed
  CHECK_FALSE(AckSubject::parse("$JS.ACK.S.g.1.1.1.1.99999999999999999999999999"));
}

TEST_CASE("ten tokens are no ack subject: neither form has that many") {
  CHECK_FALSE(AckSubject::parse("$JS.ACK.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5.6"));
  CHECK_FALSE(AckSubject::parse("$JS.ACK._.AUTH_EVENTS.mailer.3.17.42.1700000000123456789.5"));
}

TEST_CASE("any other subject is no ack subject") {
  const std::string subject =
      GENERATE(as<std::string>{}, "", ".", "$JS", "$JS.ACK", "$JS.ACK.", "........", "_INBOX.a.b.c.d.e.f.g.h",
               "$JS.ACK.S.g.1.1.1.1",      // eight tokens
               "$JS.NAK.S.g.1.1.1.1.1",    // another verb
               "$js.ack.S.g.1.1.1.1.1",    // subjects are case-sensitive
               "x.$JS.ACK.S.g.1.1.1.1.1",  // a mapped account's prefix
               "$JS.ACK..g.1.1.1.1.1", "$JS.ACK.S..1.1.1.1.1", "$JS.ACK.S.g..1.1.1.1", "$JS.ACK.S.g.1.1.1.1.",
               "$JS.ACK.S.g.one.1.1.1.1", "$JS.ACK.S.g.-1.1.1.1.1", "$JS.ACK.S.g.+1.1.1.1.1",
               "$JS.ACK.S.g.1x.1.1.1.1", "$JS.ACK.S.g. 1.1.1.1.1", "$JS.ACK.S.g.1.1.1.1.0x5");
  INFO(subject);
  CHECK_FALSE(AckSubject::parse(subject));
}

TEST_CASE("a subject of any length is read without harm") {
  CHECK_FALSE(AckSubject::parse(std::string(100000, '.')));
  CHECK_FALSE(AckSubject::parse("$JS.ACK." + std::string(100000, 'a')));
}
