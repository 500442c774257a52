// What a consumer tells those who watch it: in trouble, and of what it has done.

#include "support/consuming.hpp"
#include "support/gate.hpp"
#include "support/inbox_faults.hpp"
#include "support/monitored.hpp"

#include <nlohmann/json.hpp>

#include <map>

using namespace tidings;
using namespace tidings::test;

namespace {

constexpr HealthLimits impatient{.stalled_after = 1s};

Instance instance_of(const Scene& scene, const ConsumerOptions& options,
                     const Instance::WorkersHandler& act) {
  if (options.workers > 0) return {scene.inbox(), options, act};
  return {scene.inbox(), options, [act](const Delivery& delivery, Tx&) { act(delivery); }};
}

double figure(const Instance& instance, const std::string& metric) {
  return sample(instance.consumer.report(), metric, "mailer");
}

/// What handlers have done, by type.
class Ledger {
 public:
  /// Fails where the event's id says so.
  void handle(const Delivery& delivery) {
    const auto& id = delivery.event.id;
    const bool fails = id.starts_with("poison") || (id.starts_with("second") && delivery.attempt == 1);
    const std::lock_guard lock{mutex_};
    ++(fails ? failed_ : handled_)[delivery.event.type];
    if (fails) throw std::runtime_error("no");
  }
  [[nodiscard]] int handled(const std::string& type) const { return count(handled_, type); }
  [[nodiscard]] int failed(const std::string& type) const { return count(failed_, type); }

 private:
  [[nodiscard]] int count(const std::map<std::string, int>& counts, const std::string& type) const {
    const std::lock_guard lock{mutex_};
    const auto found = counts.find(type);
    return found == counts.end() ? 0 : found->second;
  }
  mutable std::mutex mutex_;
  std::map<std::string, int> handled_, failed_;
};

}  // namespace

TEST_CASE("a handler that hangs in a transaction is told as what the consumer stands still for",
          "[engines]") {
  Scene scene;
  Gate gate;
  Instance instance{scene.inbox(), scene.options(), on_event("hangs", [&gate] { gate.pass(); })};
  instance.start();
  REQUIRE_WITHIN(10s, instance.consumer.report().not_ready.empty());
  scene.publish("hangs");
  REQUIRE_WITHIN(10s, gate.entered() == 1);
  REQUIRE_WITHIN(5s,
                 instance.consumer.report(impatient).stalled.find(
                     "the handler of the message at sequence 1 of stream AUTH_EVENTS") != std::string::npos);
  CHECK_FALSE(instance.consumer.report(impatient).not_ready.empty());
  CHECK(figure(instance, "tidings_consumer_handler_running_seconds") >= 1);
  gate.open();
  REQUIRE_WITHIN(5s, instance.consumer.report(impatient).stalled.empty());
  REQUIRE_WITHIN(5s, figure(instance, "tidings_consumer_handler_running_seconds") == 0);
}

TEST_CASE("a handler that hangs on a worker is seen in the metrics, while the others go on", "[engines]") {
  Scene scene;
  Gate gate;
  auto options = with_workers(scene.options(), 2);
  options.handler_time_limit = 2s;
  Instance instance{scene.inbox(), options, [&gate](const Delivery& delivery) {
                      if (delivery.event.id == "hangs") gate.pass();
                    }};
  instance.start();
  scene.publish("hangs");
  scene.publish_many(10);
  REQUIRE_WITHIN(5s, figure(instance, "tidings_consumer_handler_running_seconds") > 1);
  CHECK(instance.consumer.report(impatient).stalled.empty());
  CHECK(instance.consumer.report(impatient).not_ready.empty());
  REQUIRE_WITHIN(10s, instance.stats().handled == 10);
  REQUIRE_WITHIN(10s, figure(instance, "tidings_consumer_overdue_handlers") == 1);
  gate.open();
  REQUIRE_WITHIN(10s, figure(instance, "tidings_consumer_overdue_handlers") == 0);
}

TEST_CASE("an inbox that another locks is told as why the consumer is not ready", "[engines]") {
  Scene scene;
  Instance instance{scene.inbox(), scene.options()};
  instance.start();
  REQUIRE_WITHIN(10s, instance.consumer.report().not_ready.empty());
  {
    const InboxLock lock{scene.place};
    scene.publish("one");
    REQUIRE_WITHIN(5s, instance.consumer.report().not_ready.find("inbox") != std::string::npos);
  }
  REQUIRE_WITHIN(10s, instance.consumer.report().not_ready.empty());
}

TEST_CASE("while a dead letter waits for a NATS that is silent, that is what is told", "[engines]") {
  Scene scene;
  constexpr HealthLimits limits{.stalled_after = 2s};
  Instance instance{scene.inbox(), scene.options(), on_event("poison", [&scene] {
                      scene.server.pause();
                      throw Reject{"never"};
                    })};
  instance.start();
  REQUIRE_WITHIN(10s, instance.consumer.report().not_ready.empty());
  scene.publish("poison");
  MonitorReport report;
  std::string stalled;
  const bool told = eventually(10s, [&] {
    report = instance.consumer.report(limits);
    if (!report.stalled.empty()) stalled = report.stalled;
    return report.not_ready.find("NATS: no answer for 2 s") != std::string::npos;
  });
  scene.server.resume();
  CHECK(told);
  CHECK(stalled == "");
}

TEST_CASE("a consumer's metrics are what a ledger of its events says", "[engines]") {
  const int workers = GENERATE(0, 2);
  INFO(workers << " workers");
  Scene scene;
  auto options = with_workers(scene.options(), workers);
  options.max_attempts = 2;
  Ledger ledger;
  auto instance =
      instance_of(scene, options, [&ledger](const Delivery& delivery) { ledger.handle(delivery); });
  instance.consumer.on("user.renamed", [&ledger](const Delivery& delivery) { ledger.handle(delivery); });
  const auto publish = [&scene](const std::string& type, int good, int retried, int poison) {
    for (int i = 0; i < good; ++i) scene.publish(type + "-" + std::to_string(i), "{}", type);
    for (int i = 0; i < retried; ++i) scene.publish("second-" + type + std::to_string(i), "{}", type);
    for (int i = 0; i < poison; ++i) scene.publish("poison-" + type + std::to_string(i), "{}", type);
  };
  publish("user.created", 5, 2, 1);
  publish("user.renamed", 4, 1, 2);
  for (const auto* const copy : {"a", "b", "c"})
    scene.js.publish("auth.events.user.created", "{}",
                     {{"Nats-Msg-Id", copy},
                      {"ce-specversion", "1.0"},
                      {"ce-id", "user.created-0"},
                      {"ce-type", "user.created"}});
  instance.start();
  REQUIRE_WITHIN(30s, scene.all_acked());
  REQUIRE_WITHIN(10s, instance.stats().dead_lettered == 3);

  std::map<std::string, int> dead;
  for (const auto& letter : scene.dead_letters()) ++dead[letter.header("ce-type")];
  CHECK(dead == std::map<std::string, int>{{"user.created", 1}, {"user.renamed", 2}});
  const auto report = instance.consumer.report();
  for (const auto* const type : {"user.created", "user.renamed"}) {
    CAPTURE(type);
    CHECK(sample(report, "tidings_consumer_handled_total", type) == ledger.handled(type));
    CHECK(sample(report, "tidings_consumer_dead_lettered_total", type) == dead[type]);
    CHECK(sample(report, "tidings_consumer_retried_total", type) == ledger.failed(type) - dead[type]);
  }
  CHECK(ledger.handled("user.created") == 7);
  CHECK(ledger.handled("user.renamed") == 5);
  CHECK(sample(report, "tidings_consumer_duplicates_total", "mailer") == 3);
}
