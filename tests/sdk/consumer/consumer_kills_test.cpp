// Consumers that are killed between any two of their steps, told to stop under load, or that come and go:
// every event has one effect, and every poison one dead letter.

#include "support/consuming.hpp"
#include "support/killer.hpp"
#include "support/process.hpp"
#include "support/temp_dir.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

using namespace tidings;
using namespace tidings::test;
using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

const char* const victim = "a consumer that is killed at a place (runs in a process of its own)";
const char* const beginner =
    "a consumer that dies of a message or its first commit (runs in a process of its own)";
const char* const servant = "a consumer that is told to stop (runs in a process of its own)";

Process start(const char* test_case, const Scene& scene, const std::string& inbox,
              const std::string& place = {}) {
  return Process{std::filesystem::read_symlink("/proc/self/exe"),
                 {test_case},
                 {.environment = {{"TIDINGS_TEST_URL", scene.server.url()},
                                  {"TIDINGS_TEST_INBOX", inbox},
                                  {"TIDINGS_TEST_PLACE", place}},
                  .input = {},
                  .log_folder = {}}};
}

std::string pending(Scene& scene) {
  const auto group = scene.group();
  return "pending " + std::to_string(group.num_pending) + " unacked " + std::to_string(group.num_ack_pending);
}

bool is_poison(const Delivery& delivery) { return delivery.event.id.starts_with("poison"); }

void refuse_poison(const Delivery& delivery, Tx&) {
  if (is_poison(delivery)) throw Reject("no such address");
}

/// Every message in a transaction of its own: the nth step of a kind is that of the nth message.
ConsumerOptions one_by_one(ConsumerOptions options) {
  options.ack_wait = 500ms;     // a busy machine must not have it handed out again while it is handled
  options.max_attempts = 1000;  // being killed is nobody's fault here
  options.max_batch = 1;
  return options;
}

}  // namespace

TEST_CASE(victim, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;  // only for the tests below
  // The third time, so that each process has got two messages further.
  Killer killer{.place = std::getenv("TIDINGS_TEST_PLACE"), .nth = 3};
  auto options = one_by_one(consumer_of(url));
  // Called when the copy is confirmed and the original's end is not sent yet.
  options.on_failure = [&killer](const Failure&) { killer.pass("after the copy"); };
  const std::string inbox = std::getenv("TIDINGS_TEST_INBOX");
  Instance instance{inbox, options, [&killer](const Delivery& delivery, Tx& tx) {
                      killer.effect = !is_poison(delivery);
                      killer.rejected = !killer.effect;
                      killer.pass("in the handler");
                      refuse_poison(delivery, tx);
                    }};
  const KillerAtCommits at_commits{instance.inbox, inbox, killer};
  instance.start();
  REQUIRE_WITHIN(60s, instance.ended());
}

TEST_CASE(beginner, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;
  std::signal(SIGABRT, SIG_DFL);
  Killer killer{.place = std::getenv("TIDINGS_TEST_PLACE")};
  auto options = consumer_of(url);
  options.ack_wait = 300ms;
  options.max_attempts = 2;
  options.max_batch_time = 10s;
  const std::string inbox = std::getenv("TIDINGS_TEST_INBOX");
  Instance instance{inbox, options, [&killer](const Delivery& delivery, Tx&) {
                      killer.effect = true;
                      if (delivery.event.id == "killer") std::abort();
                    }};
  const KillerAtCommits at_commits{instance.inbox, inbox, killer};
  instance.start();
  REQUIRE_WITHIN(60s, instance.ended());
}

TEST_CASE(servant, "[.]") {
  const char* const url = std::getenv("TIDINGS_TEST_URL");
  if (url == nullptr) return;
  auto options = consumer_of(url);
  options.prefetch = 600;
  options.max_batch = 10;  // most are not taken yet, and pulls are open
  const std::filesystem::path gate = std::getenv("TIDINGS_TEST_PLACE");
  int calls = 0;  // as many are fetched as for a fast handler, and then one takes long
  Instance instance{std::getenv("TIDINGS_TEST_INBOX"), options, [&](const Delivery&, Tx&) {
                      while (++calls > 400 && !std::filesystem::exists(gate)) take_time(10ms);
                    }};
  instance.consumer.run();  // until SIGTERM, as a service does
}

TEST_CASE("a consumer that is killed between any two steps loses nothing and does nothing twice") {
  const std::string place = GENERATE("in the handler", "before the commit", "after the commit",
                                     "before the copy", "after the copy");
  INFO("killed " << place);
  Scene scene;
  std::vector<std::string> good, poison;
  for (int i = 0; i < 10; ++i) {
    good.push_back("good-" + std::to_string(i));
    poison.push_back("poison-" + std::to_string(i));
    scene.publish(good.back());
    scene.publish(poison.back());
  }
  // As a supervisor does: start it again each time it dies.
  int deaths = 0;
  for (bool done = false; !done;) {
    auto process = start(victim, scene, scene.inbox(), place);
    REQUIRE_WITHIN(30s, !process.running() || (done = scene.all_acked()));
    if (done) break;
    REQUIRE(process.wait() == killed_by(SIGKILL));
    REQUIRE(++deaths < 30);
  }
  CHECK(deaths >= 3);
  Instance last{scene.inbox(), one_by_one(scene.options()), refuse_poison};
  last.start();
  scene.publish("good-last");
  good.emplace_back("good-last");
  REQUIRE_WITHIN(10s, scene.effects().size() >= good.size() && scene.all_acked());
  last.stop();

  auto effects = scene.effects();
  std::ranges::sort(effects);
  CHECK(effects == good);
  std::vector<std::string> dead;
  for (const auto& letter : scene.dead_letters()) {
    dead.push_back(letter.header("ce-id"));
    CHECK(letter.header("tidings-reason") == "no such address");
  }
  std::ranges::sort(dead);
  CHECK(dead == poison);
}

TEST_CASE("a settlement that was committed before a kill stands: the handler is not started again") {
  Scene scene;
  for (int i = 0; i < 3; ++i) scene.publish("poison-" + std::to_string(i));
  CHECK(start(victim, scene, scene.inbox(), "before the copy").wait() == killed_by(SIGKILL));
  CHECK(scene.dead_letters().size() == 2);
  REQUIRE_WITHIN(10s, scene.place.no_sessions());
  REQUIRE(scene.place.count("inbox_attempt") == 3);
  Instance instance{scene.inbox(), one_by_one(scene.options()), refuse_poison};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.calls_for("poison-2").empty());
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 3);
  CHECK(letters[2].header("ce-id") == "poison-2");
  CHECK(letters[2].header("tidings-reason") == "no such address");
  CHECK(letters[2].header("tidings-attempts") == "1");
}

TEST_CASE("a process killed between commit and ack leads to redelivery without a second effect") {
  Scene scene;
  scene.publish_many(3);
  CHECK(start(beginner, scene, scene.inbox(), "after the commit").wait() == killed_by(SIGKILL));
  REQUIRE_WITHIN(10s, !scene.effects().empty());  // PostgreSQL may still be committing
  const auto committed = scene.effects().size();  // its first batch: one to three
  CHECK(scene.group().acked_to == 0);
  CHECK(scene.group().num_ack_pending == 3);

  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, scene.all_acked());
  instance.stop();
  CHECK(instance.stats().duplicates == committed);
  CHECK(instance.calls().size() == 3 - committed);
  CHECK(scene.effects().size() == 3);
}

TEST_CASE("a message that kills its process ends as a dead letter, and its neighbours are handled") {
  Scene scene;
  scene.publish("before");
  scene.publish("killer");
  scene.publish("after");
  // As a supervisor does: start it again each time it dies.
  int deaths = 0;
  for (std::optional<Process> process; scene.dead_letters().empty();) {
    process.emplace(start(beginner, scene, scene.inbox()));
    REQUIRE_WITHIN(20s, !process->running() || !scene.dead_letters().empty());
    if (!scene.dead_letters().empty()) {
      REQUIRE_WITHIN(10s, scene.all_acked());
      break;
    }
    CHECK(process->wait() == killed_by(SIGABRT));
    REQUIRE(++deaths < 10);
  }
  const auto letters = scene.dead_letters();
  REQUIRE(letters.size() == 1);
  CHECK(letters[0].header("ce-id") == "killer");
  CHECK(letters[0].header("tidings-reason") == "the process ended or hung while handling it");
  CHECK(letters[0].header("tidings-attempts") == "2");
  CHECK(deaths == 3);  // max_attempts, behind the one in a batch
  auto effects = scene.effects();
  std::ranges::sort(effects);
  CHECK(effects == std::vector<std::string>{"after", "before"});
}

TEST_CASE("SIGTERM under full load ends a consumer soon, and another has what it returns within a second") {
  Scene scene;
  constexpr std::uint64_t total = 4000;
  scene.publish_many(total);
  // With an inbox of its own: its slow handlers must not hold up the other's.
  const auto own = scene.inbox("leaving");
  const TempDir folder;
  auto leaving = start(servant, scene, own, (folder / "gate").string());
  // It takes all that it may, and then the other gets the rest at once: what comes later is what the first
  // one has returned.
  REQUIRE_WITHIN(20s, scene.has_group() && scene.group().num_ack_pending >= 400);
  auto options = scene.options();
  options.prefetch = 5000;
  Instance staying{scene.inbox(), options};
  staying.start();
  REQUIRE_WITHIN(30s, scene.group().num_pending == 0 && staying.stats().handled >= 1000 &&
                          staying.stats().in_flight == 0);

  const auto before = staying.stats().handled;
  const auto asked = steady_clock::now();
  leaving.kill(SIGTERM);
  std::ofstream{folder / "gate"};
  CHECK(leaving.wait() == exited(0));
  const auto ended = steady_clock::now();
  CHECK(ended - asked < 5s);
  const auto left = static_cast<std::uint64_t>(scene.place.count("effect", "leaving"));
  const auto returned = [&] {
    const auto stats = staying.stats();
    return total - left == stats.handled + stats.duplicates + stats.in_flight;
  };
  REQUIRE(left + before < total);
  REQUIRE_WITHIN(10s, returned());
  const auto took = duration_cast<milliseconds>(steady_clock::now() - ended);
  INFO("returned after " << took.count() << " ms");
  CHECK(took < 3s);  // a tenth of the ack wait, on a machine with its own pauses
  const bool all = eventually(25s, [&] { return scene.all_acked(); });
  INFO(pending(scene) << " handled " << staying.stats().handled << " in flight "
                      << staying.stats().in_flight);
  REQUIRE(all);
  staying.stop();
  CHECK(staying.stats().duplicates == 0);
  CHECK(scene.effects().size() + left == total);
  CHECK(unique(scene.effects()).size() == total - left);
}

TEST_CASE("fifty instances that come and go at random leave each event with one effect") {
  const auto seed = GENERATE(range(1U, 4U));
  INFO("seed " << seed);
  std::mt19937 random{seed};
  Scene scene;
  auto options = scene.options();
  options.prefetch = options.max_batch = 50;
  // When all leave at once, an older server (2.9.10) may forget for so long what is returned to it.
  options.ack_wait = 3s;
  constexpr std::size_t most_at_once = 6;
  std::vector<std::unique_ptr<Instance>> all;
  std::vector<Instance*> present;
  int published = 0;
  const auto publish_some = [&] {
    for (const int last = published + 30; published < last; ++published)
      scene.publish("event-" + std::to_string(published));
  };
  // Opened while nobody else writes: a new inbox waits for 5 s at most.
  for (int i = 0; i < 50; ++i) all.push_back(std::make_unique<Instance>(scene.inbox(), options));
  for (const auto& instance : all) {
    present.push_back(instance.get());
    present.back()->start();
    publish_some();
    while (present.size() > random() % most_at_once) {
      const auto leaving = present.begin() + static_cast<std::ptrdiff_t>(random() % present.size());
      (*leaving)->ask_to_stop();  // and is on its way out while others join
      present.erase(leaving);
    }
  }
  for (auto& instance : all) instance->stop();
  Instance last{scene.inbox(), options};
  last.start();
  REQUIRE_WITHIN(40s, scene.all_acked());
  last.stop();
  auto handled = last.stats().handled;
  for (const auto& instance : all) {
    CHECK(instance->error().empty());
    handled += instance->stats().handled;
  }
  CHECK(handled == static_cast<std::uint64_t>(published));
  CHECK(scene.effects().size() == static_cast<std::size_t>(published));
  CHECK(unique(scene.effects()).size() == static_cast<std::size_t>(published));
  CHECK(scene.dead_letters().empty());
}
