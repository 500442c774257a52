// Consumers inside of applications: what other threads ask of them, signals, several in one process.

#include "support/consuming.hpp"

#include <tidings/stop_signals.hpp>

#include <unistd.h>

#include <csignal>
#include <thread>

using namespace tidings;
using namespace tidings::test;
using State = ConsumerStatus::State;

namespace {

Instance instance_of(const Scene& scene, int workers, const Instance::WorkersHandler& act = nothing,
                     const std::string& inbox = "inbox") {
  const auto options = with_workers(scene.options(), workers);
  if (workers > 0) return {scene.inbox(inbox), options, act};
  return {scene.inbox(inbox), options, [act](const Delivery& delivery, Tx&) { act(delivery); }};
}

/// What the process does with SIGTERM.
auto action_for_terminate() {
  struct sigaction action {};
  sigaction(SIGTERM, nullptr, &action);
  return action.sa_handler;
}

void own_handler(int) {}

}  // namespace

TEST_CASE("stop() ends the run, and does not concern the next one") {
  const int workers = GENERATE(0, 2);
  Scene scene;
  auto instance = instance_of(scene, workers);
  for (std::uint64_t round = 1; round <= 2; ++round) {
    instance.start();
    scene.publish("event-" + std::to_string(round));
    REQUIRE_WITHIN(20s, instance.stats().handled == round);
    instance.consumer.stop();
    REQUIRE_WITHIN(20s, instance.ended());
    CHECK(instance.error().empty());
    CHECK(instance.consumer.status().state == State::stopped);
  }
}

TEST_CASE("stop() before the run ends it at once") {
  Scene scene;
  auto instance = instance_of(scene, 0);
  instance.consumer.stop();
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled == 1);
}

TEST_CASE("a handler may stop its consumer, and its event counts") {
  const int workers = GENERATE(0, 2);
  Scene scene;
  Instance* self = nullptr;
  auto instance = instance_of(scene, workers, [&self](const Delivery&) { self->consumer.stop(); });
  self = &instance;
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 1);
  CHECK(scene.all_acked());
}

TEST_CASE("a paused consumer leaves everything to others, and goes on where it is asked to") {
  const int workers = GENERATE(0, 2);
  INFO(workers << " workers");
  Scene scene;
  std::atomic<bool> first{true};
  Instance* self = nullptr;
  auto instance = instance_of(scene, workers, [&](const Delivery&) {
    if (first.exchange(false)) self->consumer.pause();
  });
  self = &instance;
  scene.publish_many(100);
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().state == State::paused);
  CHECK_FALSE(instance.consumer.status().ready());
  const auto handled = instance.stats().handled;
  auto other = instance_of(scene, workers, nothing, "other");
  other.start();
  REQUIRE_WITHIN(20s, handled + other.stats().handled == 100 && scene.all_acked());  // not after AckWait
  other.stop();
  scene.publish_many(10, "more");
  CHECK(instance.stats().handled == handled);
  instance.consumer.resume();
  REQUIRE_WITHIN(20s, instance.stats().handled == handled + 10);
  CHECK(instance.consumer.status().ready());
  CHECK(instance.stats().retried == 0);
}

TEST_CASE("a consumer may be paused before it runs, and stopped while it is paused") {
  Scene scene;
  auto options = scene.options();
  options.exit_when_idle = 100ms;  // a pause is not idle
  Instance instance{scene.inbox(), options};
  instance.consumer.pause();
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().state == State::paused);
  instance.stop();
  CHECK(instance.error().empty());
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().state == State::paused);
  instance.consumer.resume();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.consumer.status().state == State::stopped);
}

TEST_CASE("a consumer that is paused and resumed over and over loses nothing and does nothing twice") {
  const int workers = GENERATE(0, 4);
  Scene scene;
  auto instance = instance_of(scene, workers);
  instance.start();
  for (int round = 0; round < 20; ++round) {
    scene.publish_many(20, "round-" + std::to_string(round));
    instance.consumer.pause();
    if (round % 2 == 0) REQUIRE_WITHIN(20s, instance.consumer.status().state == State::paused);
    instance.consumer.resume();
  }
#ifdef __SANITIZE_THREAD__  // so slow that the server's bug, which a stop can only make rare, is met
  REQUIRE_WITHIN(60s, scene.all_acked());
#else
  REQUIRE_WITHIN(15s, scene.all_acked());  // AckWait is 30 s: nothing has been forgotten until then
#endif
  CHECK(instance.stats().handled == 400);
  CHECK(unique(ids_of(instance.calls())).size() == 400);
  CHECK(instance.calls().size() == 400);
  CHECK(instance.stats().dead_lettered == 0);
}

TEST_CASE("a consumer that is given a stop token leaves signals to its application") {
  Scene scene;
  auto instance = instance_of(scene, 0);
  const auto before = std::signal(SIGTERM, own_handler);
  instance.start();
  REQUIRE_WITHIN(20s, instance.consumer.status().ready());
  CHECK(action_for_terminate() == &own_handler);
  instance.stop();
  CHECK(action_for_terminate() == &own_handler);
  std::signal(SIGTERM, before);
}

TEST_CASE("several consumers run side by side until one signal ends them all") {
  Scene scene;
  scene.publish_many(20);
  auto mailer_options = scene.options();
  auto audit_options = scene.options();
  audit_options.group = "audit";
  Instance mailer{scene.inbox(), mailer_options}, audit{scene.inbox("audit"), audit_options};
  std::atomic<bool> ended{false};
  std::jthread running{[&] {
    run_all(mailer.consumer, audit.consumer);
    ended = true;
  }};
  REQUIRE_WITHIN(20s, mailer.stats().handled == 20 && audit.stats().handled == 20);
  REQUIRE_WITHIN(20s, mailer.consumer.status().ready() && audit.consumer.status().ready());
  ::kill(::getpid(), SIGTERM);
  REQUIRE_WITHIN(20s, ended.load());
  CHECK(mailer.consumer.status().state == State::stopped);
  CHECK(audit.consumer.status().state == State::stopped);
}

TEST_CASE("an error of one of several consumers ends the others, and is thrown") {
  Scene scene;
  auto options = scene.options();
  options.group = "missing";
  options.manage_streams = false;
  Instance mailer{scene.inbox(), scene.options()}, broken{scene.inbox("broken"), options};
  const auto error =
      error_of<NatsError>([&] { run_all(std::stop_token{}, mailer.consumer, broken.consumer); });
  CHECK_THAT(error, ContainsSubstring("the group missing does not exist"));
  CHECK(mailer.consumer.status().state == State::stopped);
  CHECK(mailer.consumer.status().reason.empty());
}
