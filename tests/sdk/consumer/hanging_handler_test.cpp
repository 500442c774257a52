// Handlers that do not return: what they hold up goes to other instances, the status says so, and where
// nothing else helps the process ends.

#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/gate.hpp"
#include "support/log.hpp"
#include "support/process.hpp"

#include <csignal>
#include <cstdlib>
#include <iostream>

using namespace tidings;
using namespace tidings::test;

namespace {

const char* const hanger = "a consumer with a handler that hangs (runs in a process of its own)";
const char* const stopped =
    "a consumer that is stopped while its handler hangs (runs in a process of its own)";

ConsumerOptions impatient(ConsumerOptions options) {
  options.ack_wait = 500ms;
  options.handler_time_limit = 300ms;
  options.max_attempts = 2;
  return options;
}

Process start(const Scene& scene, const std::string& workers, const char* test_case = hanger) {
  return Process{std::filesystem::read_symlink("/proc/self/exe"),
                 {test_case},
                 {.environment = {{"TIDINGS_TEST_URL", scene.server.url()},
                                  {"TIDINGS_TEST_INBOX", scene.inbox()},
                                  {"TIDINGS_TEST_WORKERS", workers}},
                  .input = {},
                  .log_folder = {}}};
}

/// One that the first cannot lock: in a SQLite file its handler keeps everybody out.
std::string inbox_of_second(const Scene& scene) {
  return engine_under_test() == Engine::sqlite ? scene.inbox("second") : scene.inbox();
}

}  // namespace

TEST_CASE(hanger, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the tests below
  auto options = impatient(consumer_of(url));
  const int workers = std::stoi(std::getenv("TIDINGS_TEST_WORKERS"));
  if (workers > 0 || engine_under_test() != Engine::sqlite)  // there it is the default
    options.on_overdue = ConsumerOptions::Overdue::end_process;
  Gate never;
  const auto hang = [&never](const Delivery& delivery) {
    if (delivery.event.id == "hangs") never.pass();
  };
  const std::string inbox = std::getenv("TIDINGS_TEST_INBOX");
  if (workers > 0) {
    Instance instance{inbox, with_workers(options, workers), hang};
    instance.start();
    REQUIRE_WITHIN(60s, instance.ended());
  } else {
    Instance instance{inbox, options, [&hang](const Delivery& delivery, Tx&) { hang(delivery); }};
    instance.start();
    REQUIRE_WITHIN(60s, instance.ended());
  }
}

TEST_CASE("while a handler hangs, another instance gets what is behind it, and the status says why") {
  Scene scene;
  scene.publish("hangs");
  auto options = impatient(scene.options());
  options.on_overdue = ConsumerOptions::Overdue::wait;
  Gate gate;
  Instance first{scene.inbox(), options, on_event("hangs", [&gate] { gate.pass(); })};
  first.start();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  scene.publish_many(20);
  REQUIRE_WITHIN(10s, scene.group().num_ack_pending == 21);
  REQUIRE_WITHIN(5s, first.consumer.status().state == ConsumerStatus::State::waiting);
  CHECK_THAT(first.consumer.status().reason,
             ContainsSubstring("the handler of the message at sequence 1 of stream AUTH_EVENTS"));

  Instance second{inbox_of_second(scene), options};
  second.start();
  REQUIRE_WITHIN(15s, second.stats().handled == 21);
  // The first notices within a third of an AckWait.
  const auto taken = std::chrono::steady_clock::now();
  REQUIRE_WITHIN(5s, std::chrono::steady_clock::now() > taken + options.ack_wait);
  gate.open();
  REQUIRE_WITHIN(10s, first.consumer.status().ready());
  second.stop();
  first.stop();
  CHECK(scene.all_acked());
  // What another instance has got meanwhile is not started here any more.
  CHECK(unique(ids_of(first.calls())) == std::vector<std::string>{"hangs"});
  // Two SQLite inboxes do not know of each other.
  if (engine_under_test() == Engine::postgres) CHECK(first.stats().handled + second.stats().handled == 21);
  CHECK(scene.dead_letters().empty());
}

TEST_CASE("a process that a handler holds up for ever ends, and the event ends as a dead letter") {
  const std::string workers = GENERATE("0", "1");
  INFO("workers: " << workers);
  Scene scene;
  scene.publish("before");
  scene.publish("hangs");
  scene.publish("after");
  // As a supervisor does: start it again each time it ends.
  int ends = 0;
  for (std::optional<Process> process; !scene.all_acked();) {
    process.emplace(start(scene, workers));
    REQUIRE_WITHIN(20s, !process->running() || scene.all_acked());
    if (process->running()) continue;
    REQUIRE(process->wait() == exited(1));
    CHECK_THAT(process->err() + process->out(), ContainsSubstring("ending this process: "));
    CHECK_THAT(process->err() + process->out(), ContainsSubstring("longer than handler_time_limit"));
    REQUIRE(++ends < 10);
  }
  // Two attempts; a first end in a batch does not say who is to blame, and the last may come after the ack.
  CHECK(ends >= 1);
  CHECK(ends <= 3);
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("ce-id") == "hangs");
  CHECK(letters[0].header("tidings-attempts") == "2");
  if (workers != "0") return;  // their handlers write nothing
  auto effects = scene.effects();
  std::ranges::sort(effects);
  CHECK(effects == std::vector<std::string>{"after", "before"});
}

TEST_CASE("a handler that hangs again with the same message is noticed again") {
  Scene scene;
  scene.publish("hangs");
  auto options = impatient(scene.options());
  options.on_overdue = ConsumerOptions::Overdue::wait;
  options.max_attempts = 3;
  std::array<Gate, 2> gates;
  Instance instance{scene.inbox(), options, [&gates](const Delivery& delivery, Tx&) {
                      if (delivery.attempt <= 2)
                        gates.at(static_cast<std::size_t>(delivery.attempt) - 1).pass();
                    }};
  instance.start();
  for (auto& gate : gates) {
    REQUIRE_WITHIN(10s, gate.entered() == 1);
    CHECK(instance.consumer.status().ready());
    REQUIRE_WITHIN(5s, instance.consumer.status().state == ConsumerStatus::State::waiting);
    gate.open();
  }
  REQUIRE_WITHIN(10s, instance.stats().handled == 1 && instance.consumer.status().ready());
}

TEST_CASE("a stop that waits for a handler says so after drain_timeout, and the handler's work counts") {
  const int workers = GENERATE(0, 1);
  CAPTURE(workers);
  Scene scene;
  scene.publish("slow");
  auto options = with_workers(scene.options(), workers);
  options.drain_timeout = 300ms;
  Gate gate;
  const auto wait = [&gate](const Delivery&) { gate.pass(); };
  std::optional<Instance> instance;
  if (workers > 0)
    instance.emplace(scene.inbox(), options, wait);
  else
    instance.emplace(scene.inbox(), options, [&wait](const Delivery& delivery, Tx&) { wait(delivery); });
  const Log log;
  instance->start();
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  instance->ask_to_stop();
  const auto waits = workers > 0
                         ? "1 handlers still run at the end of the drain"
                         : "the handler of the message at sequence 1 of stream AUTH_EVENTS still runs";
  REQUIRE_WITHIN(5s, instance->consumer.status().reason.find(waits) != std::string::npos);
  CHECK(instance->consumer.status().state == ConsumerStatus::State::draining);
  CHECK_FALSE(instance->ended());
  gate.open();
  instance->stop();
  CHECK(instance->error().empty());
  CHECK(instance->consumer.status().state == ConsumerStatus::State::stopped);
  const auto told = log.text();
  const auto line = told.find(waits);
  REQUIRE(line != std::string::npos);
  CHECK(told.find(waits, line + 1) == std::string::npos);
  // With workers, the message went back.
  CHECK(instance->stats().handled == (workers > 0 ? 0 : 1));
}

TEST_CASE(stopped, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the test below
  auto options = with_workers(consumer_of(url), std::stoi(std::getenv("TIDINGS_TEST_WORKERS")));
  options.on_overdue = ConsumerOptions::Overdue::end_process;
  options.drain_timeout = 300ms;
  options.handler_time_limit = options.workers > 0 ? 1h : 2s;
  TestInbox inbox{std::getenv("TIDINGS_TEST_INBOX")};
  Consumer consumer{inbox, options};
  consumer.on("user.created", [](const Delivery&) {
    std::cout << "begun" << std::endl;
    take_time(60s);
  });
  consumer.run();  // until SIGTERM
}

TEST_CASE("a stop ends a process that a handler holds up, where handlers that hang are to end it") {
  const std::string workers = GENERATE("0", "1");
  INFO("workers: " << workers);
  Scene scene;
  scene.publish("hangs");
  auto process = start(scene, workers, stopped);
  REQUIRE(process.wait_for_output("begun"));
  process.kill(SIGTERM);
  CHECK(process.wait(10s) == exited(1));
  CHECK_THAT(process.err() + process.out(), ContainsSubstring("still run"));
  CHECK_THAT(process.err() + process.out(), ContainsSubstring("ending this process: "));
}
