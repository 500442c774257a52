// Handlers side by side in a process that dies: which of them is blamed. Without NATS. On SQLite alone: it
// forks, and where a server was started there are threads.

#include "support/child.hpp"
#include "support/manual_consumer.hpp"

#include <csignal>
#include <cstdlib>

using namespace tidings;
using namespace tidings::test;
using Kind = Settlement::Kind;

namespace {

/// One process after another, as a supervisor starts them, until one lives; how many died.
template <class Work>
int deaths_of(Work&& work) {
  int deaths = 0;
  while (deaths < 10 && signal_that_ends([&] { work(deaths); }) == SIGABRT) ++deaths;
  return deaths;
}

}  // namespace

TEST_CASE("an event that kills its process among others ends as a dead letter, and the others are handled") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  const auto max_attempts = GENERATE(1, 2, 3);
  INFO("max_attempts " << max_attempts);
  const std::vector<std::string> ids{"before", "killer", "after", "last"};
  const auto change = [&](ConsumerOptions& options) { options.max_attempts = max_attempts; };

  const int deaths = deaths_of([&](int former) {
    Meeting all_four{4};
    Gate never;
    Room room;
    ManualConsumer consumer{inbox,
                            [&](const Delivery& delivery) {
                              if (former == 0) all_four.join();
                              if (former > 0 && !room.alone())
                                ::_exit(1);  // which ends this too early, and is seen
                              if (delivery.event.id == "killer") std::abort();
                              if (former == 0) never.pass();
                            },
                            change};
    consumer.submit_all(ids);
    (void)consumer.settle(ids.size());
  });
  // A death beside others blames nobody: even where one attempt is all, there is a second death, alone.
  const auto expected = std::max(2, max_attempts);
  CHECK(deaths == expected);

  ManualConsumer consumer{inbox, {}, change};
  consumer.submit_all(ids);
  REQUIRE(consumer.settle(ids.size()));
  CHECK(consumer.kind("killer") == Kind::dead_letter);
  CHECK(consumer.settlement("killer").reason == "the process ended or hung while handling it");
  CHECK(consumer.settlement("killer").attempts == expected);
  for (const auto* id : {"before", "after", "last"}) CHECK(consumer.kind(id) == Kind::duplicate);
  CHECK(place.count("inbox") == 3);
  CHECK(consumer.calls().empty());
}

TEST_CASE("with workers, errors before and deaths after are one count") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  CHECK(ManualConsumer(inbox, [](const Delivery&) { throw std::runtime_error("mail server down"); })
            .handle("a")
            .kind == Kind::retry);
  CHECK(deaths_of([&](int) {
          (void)ManualConsumer{inbox, [](const Delivery&) { std::abort(); }}.handle("a");
        }) == 2);
  const auto settlement = ManualConsumer(inbox).handle("a");
  CHECK(settlement.kind == Kind::dead_letter);
  CHECK(settlement.attempts == 3);
}

TEST_CASE("after a process has died, what it had started runs alone, and the rest side by side") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  CHECK(signal_that_ends([&] {
          ManualConsumer consumer{inbox, on_id("killer", [] { std::abort(); }), workers(1)};
          consumer.submit_all({"killer", "b", "c", "d", "e"});
          (void)consumer.settle(5);
        }) == SIGABRT);
  // The killer, and two that were written down as its worker's next.
  REQUIRE(place.count("inbox_attempt") == 3);

  Meeting both{2};
  Room room;
  ManualConsumer consumer{inbox, [&](const Delivery& delivery) {
                            const auto& id = delivery.event.id;
                            if (id == "d" || id == "e") both.join();
                            const bool alone = room.alone();
                            if ((id == "b" || id == "c") && !alone) throw Reject("others ran beside it");
                          }};
  consumer.submit_all({"b", "d", "c", "e"});
  REQUIRE(consumer.settle(4));
  for (const auto* id : {"b", "c", "d", "e"}) CHECK(consumer.settlement(id).reason.empty());
  for (const auto* id : {"b", "c", "d", "e"}) CHECK(consumer.kind(id) == Kind::handled);
  for (const auto& call : consumer.calls()) CHECK(call.attempt == 1);
}

TEST_CASE("while a suspect runs, nothing is started beside it") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  CHECK(signal_that_ends([&] {
          (void)ManualConsumer{inbox, [](const Delivery&) { std::abort(); }}.handle("suspect");
        }) == SIGABRT);
  Gate gate;
  ManualConsumer consumer{inbox, on_id("suspect", [&] { gate.pass(); })};
  consumer.submit("suspect");
  REQUIRE_WITHIN(10s, (consumer.executor.more_to_do() ? consumer.step() : void(), gate.entered() == 1));
  consumer.submit("other");
  CHECK_FALSE(consumer.executor.more_to_do());
  gate.open();
  REQUIRE(consumer.settle(2));
  CHECK(consumer.settled_ids() == std::vector<std::string>{"suspect", "other"});
}

TEST_CASE("a suspect that goes back at a stop stays one") {
  const TempDir folder;
  const InboxPlace place{folder};
  const auto inbox = place.location("inbox");
  CHECK(signal_that_ends([&] {
          (void)ManualConsumer{inbox, [](const Delivery&) { std::abort(); }}.handle("suspect");
        }) == SIGABRT);
  const auto before = ManualConsumer{inbox}.inbox.attempts("suspect");
  Gate gate;
  ManualConsumer consumer{inbox, {}, workers(1)};
  consumer.on_wake = [&] { gate.pass(); };  // the only worker comes to the suspect late
  REQUIRE(consumer.handle("first").kind == Kind::handled);
  consumer.submit("suspect");
  while (consumer.executor.more_to_do()) consumer.step();
  CHECK(consumer.inbox.attempts("suspect")->starts == 1);
  consumer.withdraw();
  CHECK(consumer.kind("suspect") == Kind::not_started);
  CHECK(consumer.inbox.attempts("suspect")->starts == before->starts);
  CHECK(consumer.inbox.attempts("suspect")->reason == before->reason);
  gate.open();
}
