// Order::strict: one instance at a time handles the group's events, each key's in the order of the stream,
// whoever is killed, frozen, stopped or fails.

#include "support/consuming.hpp"
#include "support/process.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>

using namespace tidings;
using namespace tidings::test;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using State = ConsumerStatus::State;

namespace {

const char* const member = "a member of a strict group (runs in a process of its own)";

constexpr int keys = 10;

ConsumerOptions strict(ConsumerOptions options) {
  options.order = ConsumerOptions::Order::strict;
  options.lease = 1s;
  options.max_attempts = 1000;
  return options;
}

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

std::string number(int i) {
  auto text = std::to_string(i);
  return std::string(5 - text.size(), '0') + text;
}

/// As key-number, the number growing in each key.
void publish_to_keys(Scene& scene, int from, int to) {
  for (int i = from; i < to; ++i) {
    const auto key = "k" + std::to_string(i % keys);
    scene.publish_for(key, key + "-" + number(i));
  }
}

/// Which ids are out of the order of their keys, or came twice; empty in the good case.
std::vector<std::string> out_of_order(const std::vector<std::string>& ids) {
  std::map<std::string, std::string> last;
  std::vector<std::string> wrong;
  for (const auto& id : ids) {
    auto& before = last[id.substr(0, id.find('-'))];
    if (id <= before) wrong.push_back(before + " before " + id);
    before = id;
  }
  return wrong;
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

TEST_CASE("a strict group holds what follows an event that fails, and nobody else") {
  Scene scene;
  auto options = strict(scene.options());
  options.max_ack_pending = 10;
  options.prefetch = 500;
  std::atomic<bool> available{false};
  Instance instance{scene.inbox(), options, on_event("a-1", [&] {
                      if (!available) throw RetryAfter{300ms};
                    })};
  scene.publish_for("a", "a-1");
  scene.publish_for("a", "a-2");
  scene.publish_for("b", "b-1");
  scene.publish_for("b", "b-2");
  instance.start();
  REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"b-1", "b-2"});
  REQUIRE_WITHIN(20s, instance.stats().held_keys == 1);
  publish_to_keys(scene, 0, 50);
  REQUIRE_WITHIN(20s, scene.effects().size() == 52);
  available = true;
  REQUIRE_WITHIN(20s, scene.effects().size() == 54 && scene.all_acked());
  instance.stop();
  CHECK(out_of_order(scene.effects()) == std::vector<std::string>{});
}

TEST_CASE("a dead letter ends a strict group's hold") {
  Scene scene;
  auto options = strict(scene.options());
  options.max_attempts = 3;
  Instance instance{scene.inbox(), options, on_event("a-1", [] { throw std::runtime_error("no"); })};
  for (const auto* const id : {"a-1", "a-2", "a-3"}) scene.publish_for("a", id);
  instance.start();
  REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"a-2", "a-3"} && scene.all_acked());
  CHECK(scene.dead_letters().size() == 1);
  CHECK(instance.calls_for("a-1").size() == 3);
}

TEST_CASE("a stop during a hold keeps the order") {
  Scene scene;
  for (const auto* const id : {"a-1", "a-2", "a-3"}) scene.publish_for("a", id);
  {
    Instance owner{scene.inbox(), strict(scene.options()), on_event("a-1", [] { throw RetryAfter{1h}; })};
    owner.start();
    REQUIRE_WITHIN(20s, owner.stats().held_keys == 1);
    scene.publish_for("b", "b-1");
    REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"b-1"});
  }
  Instance next{scene.inbox(), strict(scene.options())};
  next.start();
  REQUIRE_WITHIN(20s, scene.effects() == std::vector<std::string>{"b-1", "a-1", "a-2", "a-3"});
  REQUIRE_WITHIN(20s, scene.all_acked());
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

TEST_CASE("one event of a strict group that waits for its retry does not slow others down") {
  Scene scene;
  auto options = strict(scene.options());
  options.max_batch = 10;
  Instance instance{scene.inbox(), options, on_event("a-1", [] { throw RetryAfter{1h}; })};
  scene.publish_for("a", "a-1");
  publish_to_keys(scene, 0, 300);
  instance.start();
  // In 30 batches, none of which waits for anything.
  REQUIRE_WITHIN(15s, scene.effects().size() == 300);
  CHECK(instance.stats().held_keys == 1);
}

TEST_CASE("a strict group whose bytes all wait for a retry says so, and in which key") {
  Scene scene;
  auto options = strict(scene.options());
  options.prefetch_bytes = 64 * 1024;
  Instance instance{scene.inbox(), options, on_event("a-1", [] { throw RetryAfter{1h}; })};
  scene.publish_for("a", "a-1");
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().held_keys == 1);
  const std::string large = "{\"padding\":\"" + std::string(20 * 1024, 'x') + "\"}";
  for (int i = 2; i < 10; ++i) scene.publish_for("a", "a-" + std::to_string(i), large);
  REQUIRE_WITHIN(20s, instance.consumer.status().reason.find("prefetch_bytes) wait for a retry, most of a") !=
                          std::string::npos);
}

TEST_CASE("a stream that is made again beside a hold is handled, and nothing spins") {
  Scene scene;
  Instance instance{scene.inbox(), strict(scene.options()), on_event("a-5", [] { throw RetryAfter{1h}; })};
  for (int i = 1; i < 5; ++i) scene.publish_for("b", "b-" + std::to_string(i));
  scene.publish_for("a", "a-5");
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().held_keys == 1);
  scene.js.delete_stream("AUTH_EVENTS");
  REQUIRE_WITHIN(20s, scene.js.has_stream("AUTH_EVENTS"));
  scene.publish_for("a", "a-9");
  REQUIRE_WITHIN(20s, std::ranges::count(scene.effects(), "a-9") == 1);
  CHECK(instance.stats().commits < 100);
}
