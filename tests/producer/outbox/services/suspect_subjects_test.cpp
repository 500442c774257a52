// Which events go out while those of one subject are not stored, and whose fault that is.

#include "services/publish_scheduler.hpp"
#include "support/catch.hpp"
#include "support/scheduled_event.hpp"

#include <map>
#include <string>
#include <vector>

using namespace tidings;
using namespace std::chrono_literals;
using Ids = std::vector<std::string>;

namespace {

struct Scheduled {
  void offer(int position, const std::string& aggregate, const std::string& type) {
    auto event = tidings::test::event(position, aggregate);
    event.event_type = type;
    scheduler.offer(std::move(event));
  }
  Ids send_all(bool probe = true) {
    Ids ids;
    while (const auto next = scheduler.next_send(probe)) {
      ids.push_back(next->event->id);
      token[next->event->id] = next->token;
    }
    return ids;
  }
  void suspect(const std::string& id) { scheduler.suspected(token[id]); }
  void store(const std::string& id) { REQUIRE(scheduler.stored(token[id])); }
  bool on_trial(const std::string& id) { return scheduler.sent(token[id])->on_trial; }

  PublishScheduler scheduler{100};
  std::map<std::string, std::uint64_t> token;
};

}  // namespace

TEST_CASE("a type that is not stored is held back, and tried when another has been stored since") {
  Scheduled on;
  on.offer(1, "a", "bad");
  on.offer(2, "b", "good");
  on.offer(3, "c", "bad");
  on.offer(4, "d", "good");
  CHECK(on.send_all() == Ids{"e1", "e2", "e3", "e4"});
  on.suspect("e1");
  on.store("e2");  // sent before the failure was known, so it says nothing
  on.suspect("e3");
  on.store("e4");
  CHECK(on.send_all(false).empty());
  on.offer(5, "e", "good");
  on.offer(6, "f", "bad");
  CHECK(on.send_all(false) == Ids{"e5"});
  on.store("e5");
  CHECK(on.send_all(false) == Ids{"e1", "e3", "e6"});
  CHECK(on.on_trial("e1"));
}

TEST_CASE("while no type is stored, each is tried in turn and none is on trial") {
  Scheduled on;
  on.offer(1, "a", "one");
  on.offer(2, "b", "two");
  CHECK(on.send_all() == Ids{"e1", "e2"});
  on.suspect("e1");
  on.suspect("e2");
  CHECK(on.send_all(false).empty());
  for (const auto* id : {"e1", "e2", "e1"}) {
    CHECK(on.send_all() == Ids{id});
    CHECK_FALSE(on.on_trial(id));
    on.suspect(id);
  }
  CHECK(on.send_all() == Ids{"e2"});
  on.store("e2");
  CHECK(on.send_all() == Ids{"e1"});
}

TEST_CASE("a type whose event is stored is not suspect any more") {
  Scheduled on;
  for (int i = 1; i <= 3; ++i) on.offer(i, "a" + std::to_string(i), "one");
  CHECK(on.send_all() == Ids{"e1", "e2", "e3"});
  for (const auto* id : {"e1", "e2", "e3"}) on.suspect(id);
  CHECK(on.send_all() == Ids{"e1"});
  on.store("e1");
  CHECK_FALSE(on.scheduler.has_suspects());
  CHECK(on.send_all() == Ids{"e2", "e3"});
  CHECK_FALSE(on.on_trial("e2"));
}

TEST_CASE("a type is held back in the partition where it is not stored, and tried when stored in another") {
  Scheduled on;
  on.scheduler = PublishScheduler{100, 16};
  on.offer(1, "foobar", "one");  // in partition 8
  on.offer(2, "a", "one");       // in partition 12
  on.offer(3, "foobar", "two");
  CHECK(on.send_all() == Ids{"e1", "e2"});
  on.suspect("e1");
  on.store("e2");  // sent before the failure was known
  on.offer(4, "a", "one");
  CHECK(on.send_all(false) == Ids{"e4"});
  on.store("e4");
  CHECK(on.send_all(false) == Ids{"e1"});
  CHECK(on.on_trial("e1"));
}

TEST_CASE("a cut connection ends a trial") {
  Scheduled on;
  on.offer(1, "a", "bad");
  CHECK(on.send_all() == Ids{"e1"});
  on.suspect("e1");
  on.offer(2, "b", "good");
  CHECK(on.send_all() == Ids{"e2"});
  on.store("e2");
  CHECK(on.send_all() == Ids{"e1"});
  on.scheduler.returned(on.token["e1"]);
  CHECK(on.send_all() == Ids{"e1"});
  CHECK_FALSE(on.on_trial("e1"));
}
