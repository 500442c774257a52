// Handlers that do not return: what they hold up goes to other instances, the status says so, and where
// nothing else helps the process ends.

#include "support/consuming.hpp"
#include "support/engine.hpp"
#include "support/gate.hpp"
#include "support/process.hpp"

#include <cstdlib>

using namespace tidings;
using namespace tidings::test;

namespace {

const char* const hanger = "a consumer with a handler that hangs (runs in a process of its own)";

ConsumerOptions impatient(ConsumerOptions options) {
  options.ack_wait = 500ms;
  options.handler_time_limit = 300ms;
  options.max_attempts = 2;
  return options;
}

Process start(const Scene& scene, const std::string& workers) {
  return Process{std::filesystem::read_symlink("/proc/self/exe"),
                 {hanger},
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
  gate.open();
  REQUIRE_WITHIN(10s, first.consumer.status().ready());
  second.stop();
  first.stop();
  CHECK(scene.all_acked());
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
