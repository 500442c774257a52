// A consumer with workers that is stopped or killed in the middle, on a real server.

#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/inbox_faults.hpp"
#include "support/process.hpp"

#include <csignal>
#include <cstdlib>
#include <set>

using namespace tidings;
using namespace tidings::test;
using std::chrono::steady_clock;
using State = ConsumerStatus::State;

namespace {

const char* const victim = "a consumer with workers that dies (runs in a process of its own)";

Process start_victim(const Scene& scene, int former_deaths) {
  return Process{std::filesystem::read_symlink("/proc/self/exe"),
                 {victim},
                 {.environment = {{"TIDINGS_TEST_URL", scene.server.url()},
                                  {"TIDINGS_TEST_INBOX", scene.inbox()},
                                  {"TIDINGS_TEST_DEATHS", std::to_string(former_deaths)}},
                  .input = {},
                  .log_folder = {}}};
}

}  // namespace

TEST_CASE(victim, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the tests below
  std::signal(SIGABRT, SIG_DFL);
  const bool first = std::string{std::getenv("TIDINGS_TEST_DEATHS")} == "0";
  auto options = with_workers(consumer_of(url), 4);
  options.ack_wait = 300ms;
  options.max_attempts = 2;
  Meeting all_four{4};
  Instance instance{std::getenv("TIDINGS_TEST_INBOX"), options, [&](const Delivery& delivery) {
                      if (!delivery.event.id.ends_with("killer")) return take_time(10ms);
                      if (first) all_four.join();
                      if (delivery.event.id == "killer") std::abort();
                    }};
  instance.start();
  REQUIRE_WITHIN(60s, instance.ended());
}

TEST_CASE("at a stop, running handlers are finished and acked, and what waits is handled elsewhere at once") {
  Scene scene;
  auto options = with_workers(scene.options(), 1);  // and an ack wait of 30 s
  options.drain_timeout = 30s;
  Gate gate;
  Instance leaving{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  leaving.start();
  scene.publish("running");
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  for (int i = 0; i < 10; ++i) scene.publish_for("user-1", std::to_string(i));
  REQUIRE_WITHIN(10s, leaving.stats().in_flight == 11);
  Instance staying{scene.inbox(), with_workers(scene.options(), 4), nothing};
  staying.start();
  leaving.ask_to_stop();
  REQUIRE_WITHIN(10s, leaving.consumer.status().state == State::draining);
  const auto asked = steady_clock::now();
  REQUIRE_WITHIN(20s, staying.stats().handled == 10);
  CHECK(steady_clock::now() - asked < 5s);
  CHECK_FALSE(leaving.ended());
  gate.open();
  leaving.stop();
  CHECK(leaving.error().empty());
  CHECK(leaving.stats().handled == 1);
  CHECK(ids_of(leaving.calls()) == std::vector<std::string>{"running"});
  CHECK(scene.all_acked());
  CHECK(scene.place.rows().size() == 11);
  CHECK(std::ranges::is_sorted(ids_of(staying.calls())));  // still in the order of their aggregate
  for (const auto& call : staying.calls()) CHECK(call.attempt == 1);
}

TEST_CASE("a handler that runs beyond the end of a drain loses its message to another instance") {
  Scene scene;
  auto options = with_workers(scene.options(), 2);
  options.drain_timeout = 200ms;
  Gate gate;
  Instance leaving{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  leaving.start();
  scene.publish("one");
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  leaving.ask_to_stop();
  Instance staying{scene.inbox(), options, nothing};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(staying.stats().handled == 1);
  gate.open();
  leaving.stop();
  CHECK(leaving.error().empty());
  CHECK(leaving.stats().handled == 0);
  CHECK(scene.place.rows() == std::vector<std::string>{"one"});
}

TEST_CASE("stops that come before a slow handler ends use up none of its attempts") {
  Scene scene;
  auto options = with_workers(scene.options(), 1);
  options.drain_timeout = 500ms;  // enough for a busy database to note what is given back
  options.max_attempts = 2;
  Gate gate;
  std::vector<std::unique_ptr<Instance>> instances;
  scene.publish("slow");
  for (int round = 1; round <= 4; ++round) {
    instances.push_back(
        std::make_unique<Instance>(scene.inbox(), options, [&](const Delivery&) { gate.pass(); }));
    instances.back()->start();
    REQUIRE_WITHIN(10s, gate.entered() == round || !scene.dead_letters().empty());
    REQUIRE(scene.dead_letters().empty());
    instances.back()->ask_to_stop();
  }
  // The last gives it back, too; what they do from now on is of no effect.
  REQUIRE_WITHIN(10s, scene.place.count("inbox_attempt") == 0);
  gate.open();
  for (const auto& instance : instances) instance->stop();
  CHECK(scene.place.rows().empty());
  Instance last{scene.inbox(), options, nothing};
  last.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(last.stats().handled == 1);
  for (const auto& instance : instances)
    for (const auto& call : instance->calls()) CHECK(call.attempt == 1);
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("a stop while another locks the inbox ends in time, and the messages go back") {
  Scene scene;
  auto options = with_workers(scene.options(), 1);
  options.drain_timeout = 300ms;
  Gate gate;
  Instance leaving{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  be_impatient(leaving.inbox);
  leaving.start();
  scene.publish_many(5);
  REQUIRE_WITHIN(10s, gate.entered() == 1 && leaving.stats().in_flight == 5);
  {
    const InboxLock lock{scene.place};
    leaving.ask_to_stop();
    REQUIRE_WITHIN(10s, leaving.consumer.status().state == State::draining);
    gate.open();
    REQUIRE_WITHIN(10s, leaving.ended());
  }
  CHECK(leaving.error().empty());
  Instance staying{scene.inbox(), options, nothing};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(staying.stats().handled == 5);
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("nothing is started after a stop, also when the inbox is unavailable just then") {
  Scene scene;
  auto options = with_workers(scene.options(), 1);
  options.drain_timeout = 30s;
  Gate gate;
  Instance leaving{scene.inbox(), options, [&](const Delivery&) { gate.pass(); }};
  be_impatient(leaving.inbox);
  leaving.start();
  scene.publish_many(8);
  REQUIRE_WITHIN(10s, gate.entered() == 1 && leaving.stats().in_flight == 8);
  {
    const InboxLock lock{scene.place};
    leaving.ask_to_stop();
    REQUIRE_WITHIN(10s, scene.group().num_waiting == 0);  // it has tried to take them back by then
    gate.open();
    REQUIRE_WITHIN(10s, gate.passed() >= 1);
  }
  leaving.stop();
  CHECK(leaving.error().empty());
  CHECK(leaving.calls().size() == 1);
  CHECK(leaving.stats().handled == 1);
  Instance staying{scene.inbox(), options, nothing};
  staying.start();
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(staying.stats().handled == 7);
  for (const auto& call : staying.calls()) CHECK(call.attempt == 1);
}

TEST_CASE("workers that are killed at any moment leave each event to be handled, and none that was twice") {
  Scene scene;
  for (int i = 0; i < 60; ++i) scene.publish_for("user-" + std::to_string(i % 8), std::to_string(1000 + i));
  { const TestInbox makes_the_tables{scene.inbox()}; }
  std::set<std::string> handled;
  for (const std::size_t kill_at : {10U, 25U}) {
    auto process = start_victim(scene, 0);
    REQUIRE_WITHIN(20s, scene.place.rows().size() >= kill_at);
    process.kill(SIGKILL);
    CHECK(process.wait() == killed_by(SIGKILL));
  }
  REQUIRE_WITHIN(10s, scene.place.no_sessions());
  std::ranges::copy(scene.place.rows(), std::inserter(handled, handled.end()));
  REQUIRE(handled.size() < 60);

  Instance instance{scene.inbox(), with_workers(scene.options(), 4), nothing};
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  CHECK(scene.place.rows().size() == 60);
  for (const auto& call : instance.calls()) CHECK_FALSE(handled.contains(call.id));
  CHECK(instance.calls().size() == 60 - handled.size());
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("an event that kills its workers' process ends as a dead letter, and those beside it are handled") {
  Scene scene;
  for (const auto* id : {"with-one-killer", "killer", "with-killer", "with-another-killer"})
    scene.publish(id);
  int deaths = 0;
  for (std::optional<Process> process; scene.dead_letters().empty();) {
    process.emplace(start_victim(scene, deaths));
    REQUIRE_WITHIN(20s, !process->running() || !scene.dead_letters().empty());
    if (!scene.dead_letters().empty()) {
      REQUIRE_WITHIN(10s, scene.all_acked());
      break;
    }
    CHECK(process->wait() == killed_by(SIGABRT));
    REQUIRE(++deaths < 10);
  }
  CHECK(deaths == 2);  // max_attempts
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("ce-id") == "killer");
  CHECK(letters[0].header("tidings-reason") == "the process ended or hung while handling it");
  CHECK(letters[0].header("tidings-attempts") == "2");
  CHECK(scene.place.rows().size() == 3);
}
