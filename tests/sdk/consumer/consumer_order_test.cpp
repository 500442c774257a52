// The order of an aggregate's events, where messages that come again meet new ones, on a real server.

#include "support/consuming.hpp"
#include "support/gate.hpp"

#include <map>
#include <memory>

using namespace tidings;
using namespace tidings::test;

namespace {

/// Both modes, with one handler at a time: what is done with an event, and the order of that.
struct Mode {
  const char* name;
  int workers;

  [[nodiscard]] ConsumerOptions options(const Scene& scene) const {
    return with_workers(scene.options(), workers);
  }
  [[nodiscard]] std::unique_ptr<Instance> instance(const Scene& scene, const ConsumerOptions& options,
                                                   const Instance::WorkersHandler& handler) const {
    if (workers > 0) return std::make_unique<Instance>(scene.inbox(), options, handler);
    return std::make_unique<Instance>(scene.inbox(), options,
                                      [handler](const Delivery& delivery, Tx&) { handler(delivery); });
  }
};

constexpr Mode transactional{"transactional", 0}, one_worker{"one worker", 1};

}  // namespace

TEST_CASE("events that a stop has given back come before later ones of their aggregates") {
  const auto mode = GENERATE(transactional, one_worker);
  INFO(mode.name);
  Scene scene;
  constexpr int events = 300;
  for (int i = 0; i < events; ++i)
    scene.publish_for("user-" + std::to_string(i % 10), std::to_string(1000 + i));
  std::mutex mutex;
  std::map<std::string, std::vector<std::string>> handled;
  const auto handle = [&](const Delivery& delivery) {
    const std::lock_guard lock{mutex};
    handled[delivery.event.partition_key].push_back(delivery.event.id);
  };

  // One is handled, and what is at hand behind it goes back.
  auto options = mode.options(scene);
  options.max_batch = 1;
  options.prefetch = 100;
  const std::uint64_t at_hand = mode.workers > 0 ? 8 : 100;
  Gate first;
  const auto leaving = mode.instance(scene, options, [&](const Delivery& delivery) {
    first.pass();
    handle(delivery);
  });
  leaving->start();
  REQUIRE_WITHIN(20s, first.entered() == 1 && leaving->stats().in_flight >= at_hand);
  leaving->ask_to_stop();
  first.open();
  REQUIRE_WITHIN(20s, leaving->ended());
  REQUIRE(leaving->stats().handled < 100);

  // It comes again, and new ones with it: one batch takes both.
  Gate all;
  const auto staying = mode.instance(scene, mode.options(scene), [&](const Delivery& delivery) {
    all.pass();
    handle(delivery);
  });
  staying->start();
  const auto left = events - leaving->stats().handled;
  REQUIRE_WITHIN(20s,
                 all.entered() == 1 && staying->stats().in_flight >= (mode.workers > 0 ? at_hand : left));
  all.open();
  REQUIRE_WITHIN(20s, scene.all_acked());
  staying->stop();
  CHECK(handled.size() == 10);
  for (const auto& [key, ids] : handled) {
    CHECK(ids.size() == events / 10);
    CHECK(std::ranges::is_sorted(ids));
  }
}
