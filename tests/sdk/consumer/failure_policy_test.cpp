// What becomes of a message, by what its handler throws. Without NATS.

#include "support/batch_instance.hpp"
#include "support/catch.hpp"
#include "support/temp_dir.hpp"

#include <functional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

TEST_CASE("an exception is retried with growing delay, then a dead letter") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("a", fail)};
  const auto first = instance.run_batch({"a"}).front();
  const auto second = instance.run_isolated("a");
  const auto third = instance.run_isolated("a");
  CHECK(first.kind == Kind::retry);
  CHECK(first.delay == instance.options.backoff.delay(1, "a"));
  CHECK(second.kind == Kind::retry);
  CHECK(second.delay == instance.options.backoff.delay(2, "a"));
  CHECK(second.attempts == 2);
  CHECK(third.kind == Kind::dead_letter);
  CHECK(third.reason == "mail server down");
  CHECK(third.attempts == 3);
  CHECK(instance.attempts == std::vector{1, 2, 3});
  CHECK(effects(folder / "inbox.db").empty());
}

TEST_CASE("what a handler throws says what becomes of the message") {
  const TempDir folder;
  struct Case {
    std::function<void()> action;
    Kind kind;
    std::string reason;
  };
  const auto wanted = GENERATE(values<Case>({
      {[] { throw Reject("no such address"); }, Kind::dead_letter, "no such address"},
      {[] { throw Undecodable("data: is no JSON"); }, Kind::dead_letter, "data: is no JSON"},
      {[] { throw RetryAfter(30s, "come back later"); }, Kind::retry, "come back later"},
      {[] { throw std::runtime_error("mail server down"); }, Kind::retry, "mail server down"},
      {[] { throw Error("broker away", Error::Retry::yes); }, Kind::retry, "broker away"},
      {[] { throw 42; }, Kind::retry, "the handler threw something that is not a std::exception"},
  }));
  INFO(wanted.reason);
  const bool as_redelivered = GENERATE(false, true);
  BatchInstance instance{folder / "inbox.db", on_id("a", wanted.action)};
  const auto settlement = as_redelivered ? instance.run_isolated("a") : instance.run_batch({"a"}).front();
  CHECK(settlement.kind == wanted.kind);
  CHECK(settlement.reason == wanted.reason);
  CHECK(settlement.attempts == 1);
  CHECK(effects(folder / "inbox.db").empty());
  CHECK_FALSE(instance.inbox.handled({"a"}));
}

TEST_CASE("what a handler's error says is no record of ours: it is tried as often as any other") {
  const TempDir folder;
  const std::string words = GENERATE("for the dead letters: x", "the process ended while handling it",
                                     "the process ended while handling it, after one in a batch",
                                     "the process ended while handling it and others", "failed: x", "");
  INFO(words);
  BatchInstance instance{folder / "inbox.db", on_id("a", [&words] { throw std::runtime_error(words); })};
  CHECK(instance.run_batch({"a"}).front().kind == Kind::retry);
  CHECK(instance.run_isolated("a").kind == Kind::retry);
  const auto last = instance.run_isolated("a");
  CHECK(last.kind == Kind::dead_letter);
  CHECK(last.reason == words);
  CHECK(last.attempts == 3);
  CHECK(instance.attempts == std::vector{1, 2, 3});
}

TEST_CASE("RetryAfter sets the delay and still counts as an attempt") {
  const TempDir folder;
  BatchInstance instance{folder / "inbox.db", on_id("a", [] { throw RetryAfter(30s, "later"); })};
  CHECK(instance.run_batch({"a"}).front().delay == 30s);
  CHECK(instance.run_isolated("a").delay == 30s);
  const auto last = instance.run_isolated("a");
  CHECK(last.kind == Kind::dead_letter);
  CHECK(last.reason == "later");
  CHECK(last.attempts == 3);
}

TEST_CASE("a type without a handler is ignored, or a dead letter by option") {
  const TempDir folder;
  const auto deliver = [](BatchInstance& instance, bool as_redelivered) {
    auto strange = BatchInstance::deliveries({"a"}, "user.renamed");
    return as_redelivered ? instance.executor.run_isolated(strange.front())
                          : instance.run_batch(strange).front();
  };
  const bool as_redelivered = GENERATE(false, true);
  BatchInstance lenient{folder / "inbox.db"};
  CHECK(deliver(lenient, as_redelivered).kind == Kind::ignored);
  BatchInstance strict{folder / "inbox.db", {}, [](ConsumerOptions& options) {
                         options.unhandled = ConsumerOptions::Unhandled::dead_letter;
                       }};
  const auto settlement = deliver(strict, as_redelivered);
  CHECK(settlement.kind == Kind::dead_letter);
  CHECK(settlement.reason == "no handler for the type user.renamed");
}
