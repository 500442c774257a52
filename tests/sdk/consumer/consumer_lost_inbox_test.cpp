// A consumer whose inbox, an SQLite file, is replaced while it runs.

#include "support/consuming.hpp"
#include "support/sqlite.hpp"

#include <SQLiteCpp/SQLiteCpp.h>

#include <atomic>
#include <filesystem>

using namespace tidings;
using namespace tidings::test;
using State = ConsumerStatus::State;
namespace fs = std::filesystem;

namespace {

constexpr auto longer_than_a_look = 1100ms;

/// As `mv backup.db inbox.db` does.
void replace(const fs::path& file) {
  sqlite::execute(file.string() + ".new", "CREATE TABLE backup(id)");
  fs::rename(file.string() + ".new", file);
}

/// Whatever the mode is.
void start(
    std::optional<Instance>& instance, const Scene& scene, int workers,
    const std::function<void()>& handler = [] {}) {
  const auto options = with_workers(scene.options(), workers);
  if (workers == 0)
    instance.emplace(scene.inbox(), options, [handler](const Delivery&, Tx&) { handler(); });
  else
    instance.emplace(scene.inbox(), options, [handler](const Delivery&) { handler(); });
  instance->start();
}

void check_ended(const Instance& instance, const Scene& scene) {
  CHECK_THAT(instance.error(), ContainsSubstring("the inbox is lost: " + scene.inbox()));
  CHECK_THAT(instance.error(), ContainsSubstring("Start the consumer again"));
  CHECK(instance.consumer.status().state == State::stopped);
  CHECK(instance.consumer.status().reason == instance.error());
}

}  // namespace

TEST_CASE("an idle consumer whose inbox file is replaced or gone ends, and its successor takes the new one",
          "[sqlite]") {
  const int workers = GENERATE(0, 4);
  const bool gone = GENERATE(true, false);
  Scene scene;
  std::optional<Instance> instance;
  start(instance, scene, workers);
  scene.publish("before");
  REQUIRE_WITHIN(10s, scene.all_acked());
  if (gone)
    fs::remove(scene.inbox());
  else
    replace(scene.inbox());
  REQUIRE_WITHIN(5s, instance->ended());
  check_ended(*instance, scene);
  scene.publish_many(5);
  start(instance, scene, workers);
  REQUIRE_WITHIN(10s, scene.all_acked());
  CHECK(ids_of(instance->calls()).size() == 5);
  instance->stop();
  CHECK(instance->error().empty());
  // Nothing of the old file.
  CHECK(scene.place.count("inbox") == 5);
  CHECK(sqlite::text(scene.inbox(), "PRAGMA integrity_check") == "ok");
}

TEST_CASE("what is at hand when the inbox file is replaced is not acked, and goes back at once", "[sqlite]") {
  const int workers = GENERATE(0, 8);
  Scene scene;
  scene.publish_many(5);
  std::optional<Instance> instance;
  std::atomic<bool> replaced{false};
  start(instance, scene, workers, [&] {
    if (!replaced.exchange(true)) replace(scene.inbox());
    take_time(longer_than_a_look);
  });
  REQUIRE_WITHIN(10s, instance->ended());
  check_ended(*instance, scene);
  CHECK(instance->stats().handled == 0);
  start(instance, scene, workers);
  REQUIRE_WITHIN(10s, scene.all_acked());  // the ack wait is 30 s
  CHECK(unique(ids_of(instance->calls())).size() == 5);
  instance->stop();
  CHECK(scene.place.count("inbox") == 5);
}

TEST_CASE("a handler that still runs when the inbox is lost holds nobody up", "[sqlite]") {
  Scene scene;
  auto options = with_workers(scene.options(), 2);
  options.drain_timeout = 60s;
  std::atomic<bool> end{false};
  Instance instance{scene.inbox(), options,
                    [&](const Delivery&) { (void)eventually(30s, [&] { return end.load(); }); }};
  instance.start();
  scene.publish("slow");
  REQUIRE_WITHIN(10s, !instance.calls().empty());
  replace(scene.inbox());
  REQUIRE_WITHIN(10s, instance.consumer.status().state == State::draining);
  std::optional<Instance> other;
  start(other, scene, 2);
  REQUIRE_WITHIN(10s, !other->calls().empty());
  end = true;
  REQUIRE_WITHIN(10s, instance.ended());
  check_ended(instance, scene);
  REQUIRE_WITHIN(10s, scene.all_acked());
}

TEST_CASE("an inbox file by another name, and one in memory, are not taken for lost", "[sqlite]") {
  Scene scene;
  fs::create_symlink("target.db", scene.inbox("link"));
  const std::string location = GENERATE(as<std::string>{}, "file:", "sqlite:", "link", ":memory:");
  Instance instance{location == "link"             ? scene.inbox("link")
                    : location.starts_with(":mem") ? location
                                                   : location + scene.inbox(),
                    scene.options()};
  instance.start();
  scene.publish("one");
  REQUIRE_WITHIN(10s, scene.all_acked());
  take_time(longer_than_a_look);
  scene.publish("two");
  REQUIRE_WITHIN(10s, scene.all_acked());
  take_time(longer_than_a_look);
  CHECK_FALSE(instance.ended());
}
