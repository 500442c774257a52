// Handlers that need something which is away: in transactions and with workers.

#include "support/consuming.hpp"

#include <algorithm>
#include <atomic>

using namespace tidings;
using namespace tidings::test;
using State = ConsumerStatus::State;

namespace {

/// What handlers need, and a test takes away.
struct MailApi {
  std::atomic<bool> away{true};
  std::atomic<int> calls{0};
  std::chrono::milliseconds pause = 400ms;
  Unavailable::Pauses pauses = Unavailable::Pauses::handler;

  void call() {
    ++calls;
    if (away) throw Unavailable{"mail API", pause, pauses};
  }
};

/// One in either mode.
Instance instance_of(const Scene& scene, const ConsumerOptions& options,
                     const Instance::WorkersHandler& act) {
  if (options.workers > 0) return {scene.inbox(), options, act};
  return {scene.inbox(), options, [act](const Delivery& delivery, Tx&) { act(delivery); }};
}

/// One instance whose handler for user.created needs the API, and whose handler for user.seen needs nothing.
struct Mailer {
  Mailer(const Scene& scene, int workers, MailApi& api)
      : instance(instance_of(scene, options(scene, workers), [&api](const Delivery&) { api.call(); })) {
    instance.consumer.on<nlohmann::json>("user.seen",
                                         [this](const nlohmann::json&, const Delivery&) { ++seen; });
  }
  static ConsumerOptions options(const Scene& scene, int workers) {
    auto options = with_workers(scene.options(), workers);
    options.max_attempts = 2;
    return options;
  }
  [[nodiscard]] ConsumerStatus status() const { return instance.consumer.status(); }

  std::atomic<int> seen{0};
  Instance instance;
};

}  // namespace

TEST_CASE("what a handler needs being away uses up no attempt, and other types go on meanwhile") {
  const int workers = GENERATE(0, 4);
  INFO(workers << " workers");
  Scene scene;
  MailApi api;
  Mailer mailer{scene, workers, api};
  mailer.instance.start();
  scene.publish_many(40);
  REQUIRE_WITHIN(20s, mailer.instance.stats().unavailable >= 8);  // max_attempts is 2
  for (int i = 0; i < 20; ++i) scene.publish("seen-" + std::to_string(i), "{}", "user.seen");
  REQUIRE_WITHIN(20s, mailer.seen == 20);
  REQUIRE_WITHIN(20s, mailer.instance.stats().handled == 20);
  CHECK(mailer.status().state == State::running);
  CHECK(mailer.status().reason == "user.created: mail API is unavailable");
  api.away = false;
  REQUIRE_WITHIN(20s, mailer.instance.stats().handled == 60 && scene.all_acked());
  REQUIRE_WITHIN(5s, mailer.status().ready() && mailer.status().reason.empty());
  mailer.instance.stop();
  const auto stats = mailer.instance.stats();
  CHECK(stats.dead_lettered == 0);
  CHECK(stats.retried == 0);
  for (const auto& call : mailer.instance.calls()) CHECK(call.attempt == 1);
  CHECK(scene.place.count("inbox_attempt") == 0);
}

TEST_CASE("a paused handler is tried with one event in a pause") {
  const int workers = GENERATE(0, 4);
  INFO(workers << " workers");
  Scene scene;
  MailApi api;
  api.pause = 300ms;
  Mailer mailer{scene, workers, api};
  scene.publish_many(200);
  mailer.instance.start();
  const auto begun = std::chrono::steady_clock::now();
  REQUIRE_WITHIN(20s, mailer.instance.stats().paused >= 600);  // the others came and went thrice
  const auto pauses = (std::chrono::steady_clock::now() - begun) / 300ms;
  // With workers, as many as were started together found out by themselves.
  CHECK(api.calls <= std::max(1, 3 * workers) + pauses + 1);
}

TEST_CASE("events of an aggregate keep their order over a pause of their handler") {
  const int workers = GENERATE(0, 4);
  INFO(workers << " workers");
  Scene scene;
  MailApi api;
  Mailer mailer{scene, workers, api};
  for (int i = 0; i < 30; ++i) scene.publish_for("key-" + std::to_string(i % 3), std::to_string(i));
  mailer.instance.start();
  REQUIRE_WITHIN(20s, mailer.instance.stats().unavailable >= 3);
  const auto before = mailer.instance.calls().size();
  api.away = false;
  REQUIRE_WITHIN(30s, mailer.instance.stats().handled == 30);
  auto calls = ids_of(mailer.instance.calls());
  calls.erase(calls.begin(), calls.begin() + static_cast<std::ptrdiff_t>(before));
  for (int key = 0; key < 3; ++key) {
    std::vector<int> order;
    for (const auto& id : calls)
      if (std::stoi(id) % 3 == key) order.push_back(std::stoi(id));
    CHECK(std::ranges::is_sorted(order));
  }
}

TEST_CASE("a consumer of which all handlers wait is not ready, and says what for") {
  const int workers = GENERATE(0, 4);
  INFO(workers << " workers");
  Scene scene;
  MailApi api;
  api.pauses = Unavailable::Pauses::consumer;
  Mailer mailer{scene, workers, api};
  scene.publish("one");
  mailer.instance.start();
  REQUIRE_WITHIN(20s, mailer.status().reason == "handlers: mail API is unavailable");
  CHECK(mailer.status().state == State::waiting);
  scene.publish("seen", "{}", "user.seen");
  REQUIRE_WITHIN(20s, mailer.instance.stats().unavailable >= 2);
  api.away = false;
  REQUIRE_WITHIN(20s, mailer.instance.stats().handled == 2);
  REQUIRE_WITHIN(5s, mailer.status().ready());
}

TEST_CASE("an event of a handler that waits keeps the attempts that it has used") {
  const int workers = GENERATE(0, 4);
  INFO(workers << " workers");
  Scene scene;
  std::atomic<int> calls{0};
  auto options = with_workers(scene.options(), workers);
  options.max_attempts = 3;
  auto instance = instance_of(scene, options, [&calls](const Delivery&) {
    const int call = ++calls;
    if (call == 1 || call > 4) throw std::runtime_error("no such address");
    throw Unavailable{"mail API", 50ms};
  });
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().dead_lettered == 1);
  std::vector<int> attempts;
  for (const auto& call : instance.calls()) attempts.push_back(call.attempt);
  CHECK(attempts == std::vector{1, 2, 2, 2, 2, 3});
  CHECK(header(scene.dead_letters().at(0).headers, "tidings-attempts") == "3");
}

TEST_CASE("a consumer that exits when idle waits for what its handlers need") {
  Scene scene;
  MailApi api;
  api.pause = 1s;
  auto options = scene.options();
  options.exit_when_idle = 300ms;
  Instance instance{scene.inbox(), options, [&api](const Delivery&, Tx&) {
                      if (api.calls > 1) api.away = false;
                      api.call();
                    }};
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(20s, instance.ended());
  CHECK(instance.stats().handled == 1);
}

TEST_CASE("events that have waited for what their handler needs are committed together afterwards") {
  Scene scene;
  MailApi api;
  Mailer mailer{scene, 0, api};
  scene.publish_many(300);
  mailer.instance.start();
  REQUIRE_WITHIN(20s, mailer.instance.stats().paused >= 500);
  api.away = false;
  const auto before = mailer.instance.stats().commits;
  REQUIRE_WITHIN(30s, mailer.instance.stats().handled == 300);
  CHECK(mailer.instance.stats().commits - before < 100);
}
