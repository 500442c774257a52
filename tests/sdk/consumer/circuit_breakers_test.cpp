#include "consumer/circuit_breakers.hpp"

#include "support/catch.hpp"

#include <chrono>
#include <optional>
#include <string>

using namespace tidings;
using namespace std::chrono_literals;
using Kind = Settlement::Kind;

namespace {

/// Two handlers, and a clock that a test moves.
struct Breakers {
  Breakers() {
    handlers.add("mail", {.handle = {}});
    handlers.add("geo", {.handle = {}});
  }
  static Delivery event(const std::string& type, std::uint64_t sequence) {
    Delivery delivery;
    delivery.event.type = type;
    delivery.stream_sequence = sequence;
    return delivery;
  }
  /// How long the event is to wait; nothing when its handler may be called.
  std::optional<std::chrono::milliseconds> wait(const std::string& type, std::uint64_t sequence) {
    const auto delivery = event(type, sequence);
    const auto paused = breakers.pause(delivery, *handlers.find(type), now);
    if (!paused) return std::nullopt;
    CHECK(paused->kind == Kind::paused);
    breakers.settled(delivery, *paused, now);
    return paused->delay;
  }
  void settle(const std::string& type, std::uint64_t sequence, const Settlement& settlement) {
    breakers.settled(event(type, sequence), settlement, now);
  }
  void is_away(const std::string& type, std::uint64_t sequence, bool pauses_consumer = false) {
    settle(type, sequence,
           {.kind = Kind::unavailable,
            .delay = 30s,
            .reason = "the API is unavailable",
            .took = 1ms,
            .pauses_consumer = pauses_consumer});
  }

  Handlers handlers;
  CircuitBreakers breakers{handlers};
  CircuitBreakers::Clock::time_point now{1h};
};

const Settlement ran{.kind = Kind::handled, .took = 1ms};

}  // namespace

TEST_CASE("while a handler waits for its dependency, its events wait as long, and others do not") {
  Breakers scene;
  CHECK_FALSE(scene.wait("mail", 1));
  scene.is_away("mail", 1);
  CHECK(scene.wait("mail", 2) == 30s);
  CHECK_FALSE(scene.wait("geo", 3));
  scene.now += 20s;
  CHECK(scene.wait("mail", 4) == 10s);
  CHECK(scene.breakers.reason() == "mail: the API is unavailable");
  CHECK_FALSE(scene.breakers.all_open());
  scene.is_away("geo", 3);
  CHECK(scene.breakers.all_open());
}

TEST_CASE("after the pause one event tries, and its end decides for the others") {
  Breakers scene;
  scene.is_away("mail", 1);
  scene.now += 30s;
  CHECK_FALSE(scene.wait("mail", 2));
  CHECK_FALSE(scene.wait("mail", 2));  // asked for again, as after a lock
  CHECK(scene.wait("mail", 3) == 1s);
  SECTION("its handler succeeds") {
    scene.settle("mail", 2, ran);
    CHECK_FALSE(scene.wait("mail", 3));
    CHECK(scene.breakers.empty());
  }
  SECTION("its handler fails for a reason of its own") {
    scene.settle("mail", 2, {.kind = Kind::retry, .took = 1ms});
    CHECK_FALSE(scene.wait("mail", 3));
  }
  SECTION("what it needs is still away") {
    scene.is_away("mail", 2);
    CHECK(scene.wait("mail", 3) == 30s);
  }
  SECTION("it was a duplicate: the next tries") {
    scene.settle("mail", 2, {.kind = Kind::duplicate});
    CHECK_FALSE(scene.wait("mail", 3));
    CHECK(scene.wait("mail", 4) == 1s);
  }
}

TEST_CASE("an event that was started before the pause does not end it") {
  Breakers scene;
  scene.is_away("mail", 2);
  scene.settle("mail", 1, ran);
  CHECK(scene.wait("mail", 3) == 30s);
}

TEST_CASE("a pause of the consumer concerns all handlers, and one event of any tries") {
  Breakers scene;
  scene.is_away("mail", 1, true);
  CHECK(scene.wait("geo", 2) == 30s);
  CHECK(scene.breakers.all_open());
  CHECK(scene.breakers.consumer_within_pause(scene.now));
  CHECK(scene.breakers.reason() == "handlers: the API is unavailable");
  scene.now += 30s;
  CHECK_FALSE(scene.breakers.consumer_within_pause(scene.now));
  CHECK_FALSE(scene.wait("geo", 2));
  CHECK(scene.wait("mail", 1) == 1s);
  scene.settle("geo", 2, ran);
  CHECK_FALSE(scene.wait("mail", 1));
}

TEST_CASE("an event that a pause of its handler turns away leaves the consumer's try to another") {
  Breakers scene;
  scene.is_away("mail", 1, true);
  scene.now += 20s;
  scene.is_away("mail", 1);
  scene.now += 10s;
  CHECK(scene.wait("mail", 2) == 20s);
  CHECK_FALSE(scene.wait("geo", 3));
}

TEST_CASE("a handler whose events do not come again is not waited for any longer after twice its pause") {
  Breakers scene;
  scene.is_away("mail", 1);
  scene.now += 60s;
  scene.breakers.forget_old(scene.now);
  CHECK_FALSE(scene.breakers.empty());
  scene.now += 1s;
  scene.breakers.forget_old(scene.now);
  CHECK(scene.breakers.empty());
}

TEST_CASE("an event that was turned away and comes again to the same instance was never started") {
  Breakers scene;
  scene.is_away("mail", 1);
  auto event = Breakers::event("mail", 2);
  const auto turn_away = [&scene, &event] {
    const auto paused = scene.breakers.pause(event, *scene.handlers.find("mail"), scene.now);
    REQUIRE(paused);
    scene.breakers.settled(event, *paused, scene.now);
  };
  CHECK_FALSE(scene.breakers.never_started(event));
  turn_away();
  event.delivered = 2;
  CHECK(scene.breakers.never_started(event));
  turn_away();
  event.delivered = 3;
  CHECK(scene.breakers.never_started(event));
  SECTION("unless another instance had it meanwhile") {
    event.delivered = 4;
    CHECK_FALSE(scene.breakers.never_started(event));
    turn_away();  // that instance may have started it
    event.delivered = 5;
    CHECK_FALSE(scene.breakers.never_started(event));
  }
  SECTION("and until its handler runs") {
    scene.now += 30s;
    CHECK_FALSE(scene.wait("mail", 2));
    scene.breakers.settled(event, {.kind = Kind::retry, .took = 1ms}, scene.now);
    event.delivered = 4;
    CHECK_FALSE(scene.breakers.never_started(event));
  }
}
