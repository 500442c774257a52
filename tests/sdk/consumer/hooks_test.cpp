// What an application is told while its handlers run, for tracing and figures.

#include "support/consuming.hpp"
#include "support/log.hpp"

#include <mutex>

using namespace tidings;
using namespace tidings::test;

namespace {

Instance instance_of(const Scene& scene, const ConsumerOptions& options,
                     const Instance::WorkersHandler& act) {
  if (options.workers > 0) return {scene.inbox(), options, act};
  return {scene.inbox(), options, [act](const Delivery& delivery, Tx&) { act(delivery); }};
}

/// What hooks were told, in order.
class Trace {
 public:
  void add(const std::string& line) {
    const std::lock_guard lock{mutex_};
    lines_.push_back(line);
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock{mutex_};
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

}  // namespace

TEST_CASE("hooks are told of the start of each handler, and of its success or failure") {
  const int workers = GENERATE(0, 2);
  INFO(workers << " workers");
  Scene scene;
  Trace trace;
  auto options = with_workers(scene.options(), workers);
  options.on_start = [&trace](const Delivery& delivery) {
    trace.add("start " + delivery.event.id + " " + std::to_string(delivery.attempt));
  };
  options.on_success = [&trace](const Success& success) {
    trace.add("success " + success.delivery.event.id + (success.took > 0ns ? "" : " at once"));
  };
  options.on_failure = [&trace](const Failure& failure) {
    trace.add("failure " + failure.delivery.event.id + " " + failure.reason +
              (failure.unavailable ? ", no attempt" : ""));
  };
  std::atomic<int> calls{0};
  auto instance = instance_of(scene, options, [&](const Delivery& delivery) {
    trace.add("handler " + delivery.event.id);
    if (++calls == 1) throw std::runtime_error("mail server down");
    if (calls == 2) throw Unavailable{"mail API", 20ms};
  });
  scene.publish("one");
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked() && trace.lines().size() >= 9);
  instance.stop();
  CHECK(trace.lines() ==
        std::vector<std::string>{"start one 1", "handler one", "failure one mail server down", "start one 2",
                                 "handler one", "failure one mail API is unavailable, no attempt",
                                 "start one 2", "handler one", "success one"});
}

TEST_CASE("what hooks throw is logged once, and ends nothing") {
  const int workers = GENERATE(0, 2);
  INFO(workers << " workers");
  Scene scene;
  Log log;
  auto options = with_workers(scene.options(), workers);
  options.max_attempts = 2;
  options.on_start = [](const Delivery&) { throw std::runtime_error("tracer is broken"); };
  options.on_success = [](const Success&) { throw 42; };
  options.on_failure = [](const Failure&) { throw std::runtime_error("alarm bell is broken"); };
  options.on_status = [](const ConsumerStatus&) { throw std::runtime_error("lamp is broken"); };
  auto instance = instance_of(scene, options, [](const Delivery& delivery) {
    if (delivery.event.id == "bad") throw std::runtime_error("mail server down");
  });
  scene.publish("bad");
  scene.publish_many(20);
  instance.start();
  REQUIRE_WITHIN(20s, instance.stats().handled == 20 && instance.stats().dead_lettered == 1);
  instance.stop();
  CHECK(instance.error().empty());
  const auto text = log.text();
  for (const std::string told :
       {"on_start has thrown: tracer is broken", "on_failure has thrown: alarm bell",
        "on_success has thrown: something that is not", "on_status has thrown: lamp"}) {
    CHECK_THAT(text, ContainsSubstring(told));
    CHECK(text.find(told) == text.rfind(told));
  }
}

TEST_CASE("figures are kept for each type") {
  Scene scene;
  auto options = scene.options();
  options.max_attempts = 2;
  options.filter = ConsumerOptions::Filter::whole_stream;  // also what no handler takes
  Instance instance{scene.inbox(), options,
                    on_event("bad", [] { throw std::runtime_error("mail server down"); })};
  bool away = true;
  instance.consumer.on("user.seen", [&away](const Delivery&) {
    if (std::exchange(away, false)) throw Unavailable{"mail API", 10ms};
  });
  scene.publish("bad");
  scene.publish("good");
  scene.publish("seen", "{}", "user.seen");
  scene.publish("unknown", "{}", "user.unknown");
  instance.start();
  REQUIRE_WITHIN(20s, scene.all_acked());
  instance.stop();
  const auto by_type = instance.stats().by_type;
  CHECK(by_type.size() == 3);
  CHECK(by_type.at("user.created").handled == 1);
  CHECK(by_type.at("user.created").retried == 1);
  CHECK(by_type.at("user.created").dead_lettered == 1);
  CHECK(by_type.at("user.seen").handled == 1);
  CHECK(by_type.at("user.seen").unavailable == 1);
  CHECK(by_type.at("user.unknown").ignored == 1);
}
