// Order::strict: one instance at a time handles the group's events, each key's in the order of the stream,
// whoever is killed, frozen, stopped or fails.

#include "support/strict_order.hpp"

#include "support/consuming.hpp"
#include "support/process.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>

using namespace tidings;
using namespace tidings::test;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using State = ConsumerStatus::State;

namespace {

const char* const member = "a member of a strict group (runs in a process of its own)";

/// One of ten fails at first.
bool fails(const Delivery& delivery) {
  return delivery.stream_sequence % 10 == 3 && delivery.attempt == 1 && delivery.delivered == 1;
}

void fail_some(const Delivery& delivery, Tx&) {
  take_time(1ms);
  if (fails(delivery)) throw RetryAfter{milliseconds{30}};
}

Process start_member(const Scene& scene) {
  return Process{
      std::filesystem::read_symlink("/proc/self/exe"),
      {member},
      {.environment = {{"TIDINGS_TEST_URL", scene.server.url()}, {"TIDINGS_TEST_INBOX", scene.inbox()}},
       .input = {},
       .log_folder = {}}};
}

void check_all_in_order(Scene& scene, int count) {
  const auto effects = scene.effects();
  CHECK(out_of_order(effects) == std::vector<std::string>{});
  CHECK(unique(effects).size() == static_cast<std::size_t>(count));
  CHECK(effects.size() == static_cast<std::size_t>(count));
}

/// For tests that look into it before a member has made it.
void make_inbox(Scene& scene) { const Instance made{scene.inbox(), strict(scene.options())}; }

bool is(const Instance& instance, State state) { return instance.consumer.status().state == state; }

}  // namespace

TEST_CASE(member, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the tests below
  Instance instance{std::getenv("TIDINGS_TEST_INBOX"), strict(consumer_of(url)), fail_some};
  instance.consumer.run();
}

TEST_CASE("a strict group keeps the order of each key when its owner is killed again and again") {
  Scene scene;
  make_inbox(scene);
  int published = 400;
  publish_to_keys(scene, 0, published);
  auto owner = start_member(scene);
  auto standby = start_member(scene);
  for (int kill = 1; kill <= 4; ++kill) {
    REQUIRE_WITHIN(60s, scene.effects().size() >= static_cast<std::size_t>(kill * 60));
    owner.kill(SIGKILL);
    (void)owner.wait();
    // The dead owner's pull takes some of these; others come to its successor before those come again.
    const auto before = scene.effects().size();
    REQUIRE_WITHIN(60s, [&] {
      publish_to_keys(scene, published, published + 5);
      published += 5;
      return scene.effects().size() > before;
    }());
    owner = std::move(standby);
    standby = start_member(scene);
  }
  const auto all = static_cast<std::size_t>(published);
  REQUIRE_WITHIN(60s, scene.effects().size() >= all && scene.all_acked());
  check_all_in_order(scene, published);
}

TEST_CASE("what an owner does after it was frozen past its lease has no effect") {
  Scene scene;
  make_inbox(scene);
  int published = 500;
  publish_to_keys(scene, 0, published);
  auto owner = start_member(scene);
  REQUIRE_WITHIN(60s, scene.effects().size() >= 50);
  auto standby = start_member(scene);
  owner.pause();
  // Its pull goes on taking messages, which come to its successor later than others of their keys. In SQLite,
  // one that is frozen in a transaction has the file's lock until it ends.
  const auto before = scene.effects().size();
  const bool taken_over = eventually(10s, [&] {
    if (published < 1500) {
      publish_to_keys(scene, published, published + 5);
      published += 5;
    }
    return scene.effects().size() > before + 100;
  });
  owner.resume();
  WARN("taken over while it was frozen: " << taken_over);
  const auto all = static_cast<std::size_t>(published);
  REQUIRE_WITHIN(60s, scene.effects().size() >= all && scene.all_acked());
  check_all_in_order(scene, published);
}

TEST_CASE("a strict group's standby takes nothing, and goes on at once when its owner is stopped") {
  Scene scene;
  Instance owner{scene.inbox(), strict(scene.options())};
  owner.start();
  REQUIRE_WITHIN(20s, is(owner, State::running));
  Instance standby{scene.inbox(), strict(scene.options())};
  standby.start();
  REQUIRE_WITHIN(20s, is(standby, State::standby));
  publish_to_keys(scene, 0, 100);
  REQUIRE_WITHIN(20s, scene.effects().size() == 100);
  CHECK(standby.stats().received == 0);
  owner.stop();
  const auto stopped = steady_clock::now();
  REQUIRE_WITHIN(20s, is(standby, State::running));
  WARN("hand-over after " << std::chrono::duration_cast<milliseconds>(steady_clock::now() - stopped).count()
                          << " ms");
  publish_to_keys(scene, 100, 200);
  REQUIRE_WITHIN(20s, scene.effects().size() == 200 && scene.all_acked());
  check_all_in_order(scene, 200);
}

TEST_CASE("workers of a strict group keep the order of each key") {
  Scene scene;
  std::mutex mutex;
  std::vector<std::string> handled;
  publish_to_keys(scene, 0, 200);
  Instance instance{scene.inbox(), with_workers(strict(scene.options()), 4),
                    Instance::WorkersHandler{[&](const Delivery& delivery) {
                      if (fails(delivery)) throw RetryAfter{milliseconds{30}};
                      const std::lock_guard lock{mutex};
                      handled.push_back(delivery.event.id);
                    }}};
  instance.start();
  REQUIRE_WITHIN(30s, scene.all_acked());
  instance.stop();
  CHECK(handled.size() == 200);
  CHECK(out_of_order(handled) == std::vector<std::string>{});
}

TEST_CASE("a group is shared or strict, as its inbox knows") {
  Scene scene;
  scene.publish("first");
  {
    Instance shared{scene.inbox(), scene.options()};
    shared.start();
    REQUIRE_WITHIN(20s, scene.effects().size() == 1 && scene.all_acked());
  }
  const auto refused = [&](const ConsumerOptions& options) {
    try {
      const Instance instance{scene.inbox(), options};
    } catch (const SettingError& error) {
      return std::string{error.what()};
    }
    return std::string{};
  };
  CHECK(refused(strict(scene.options())).starts_with("CONSUMER_ORDER=strict: the group mailer was shared"));
  auto options = strict(scene.options());
  options.make_strict = true;
  CHECK(refused(options).empty());
  CHECK(refused(strict(scene.options())).empty());
  CHECK(refused(scene.options()).starts_with("CONSUMER_ORDER=shared: the group mailer is strict"));
}
