// Which events a scheduler puts into atomic batches.

#include "services/publish_scheduler.hpp"
#include "support/catch.hpp"
#include "support/scheduled_event.hpp"

#include <string>
#include <vector>

using namespace tidings;
using tidings::test::event;
using namespace std::chrono_literals;
using Tokens = std::vector<std::uint64_t>;

namespace {

/// A scheduler that may make batches, and tokens in the order in which they were sent.
struct Batching {
  explicit Batching(std::size_t window) : scheduler(window) { scheduler.allow_batches(true); }

  void offer(int count, const std::string& aggregate, const std::string& type = "good") {
    for (int i = 0; i < count; ++i) {
      auto offered = event(++position, aggregate);
      offered.event_type = type;
      scheduler.offer(std::move(offered));
    }
  }

  std::vector<std::uint64_t> singles() {
    std::vector<std::uint64_t> tokens;
    while (const auto next = scheduler.next_send()) tokens.push_back(next->token);
    return tokens;
  }

  std::vector<std::uint64_t> batch() {
    std::vector<PublishRequest> requests;
    if (!scheduler.next_batch(requests)) CHECK(requests.empty());
    std::vector<std::uint64_t> tokens;
    for (const auto& request : requests) tokens.push_back(request.token);
    return tokens;
  }

  void store(const std::vector<std::uint64_t>& tokens) {
    for (const auto token : tokens) REQUIRE(scheduler.stored(token));
  }

  PublishScheduler scheduler;
  int position = 0;
};

}  // namespace

TEST_CASE("the waiting events of an aggregate go as one batch, others beside it by themselves") {
  Batching batching{100};
  batching.offer(20, "hot");
  batching.offer(2, "cold");
  CHECK(batching.singles() == std::vector<std::uint64_t>{21});
  const auto batch = batching.batch();
  REQUIRE(batch.size() == 20);
  CHECK(batch.front() == 1);
  CHECK(batching.batch().empty());
  CHECK(batching.scheduler.in_flight() == 21);

  batching.offer(30, "hot");
  CHECK(batching.singles().empty());
  for (const auto token : batch) {
    CHECK(batching.batch().empty());
    REQUIRE(batching.scheduler.stored(token));
    CHECK(batching.singles().empty());
  }
  CHECK(batching.batch().size() == 30);
}

TEST_CASE("few events of an aggregate, and all where batches are not allowed, go one by one") {
  Batching batching{100};
  batching.offer(15, "a");
  CHECK(batching.singles().size() == 1);
  CHECK(batching.batch().empty());
  batching.scheduler.allow_batches(false);
  batching.offer(20, "b");
  CHECK(batching.singles().size() == 1);
  CHECK(batching.batch().empty());
}

TEST_CASE("a batch has events of several aggregates in commit order, and at most a thousand") {
  Batching batching{3000};
  for (int i = 0; i < 700; ++i)
    for (const auto* aggregate : {"a", "b"}) batching.offer(1, aggregate);
  CHECK(batching.singles().empty());
  const auto first = batching.batch();
  CHECK(first.size() == 1000);
  CHECK(std::ranges::is_sorted(first));
  for (const auto token : first) REQUIRE(batching.scheduler.stored(token));
  CHECK(batching.singles().empty());
  CHECK(batching.batch().size() == 400);
}

TEST_CASE("a batch holds no more than some megabytes, and a large event all the same") {
  Batching batching{3000};
  for (int i = 1; i <= 20; ++i) {
    auto large = event(i, "a");
    large.event_data.assign(std::size_t{3} << 20U, 'x');
    batching.scheduler.offer(std::move(large));
  }
  CHECK(batching.singles().empty());
  CHECK(batching.batch().size() == 2);
}

TEST_CASE("the events of a batch that was not stored go alone before their aggregate's next batch") {
  Batching batching{100};
  batching.offer(20, "a");
  batching.offer(20, "b");
  CHECK(batching.singles().empty());
  const auto batch = batching.batch();
  REQUIRE(batch.size() == 40);
  batching.offer(40, "a");
  for (const auto token : batch) batching.scheduler.returned(token);
  for (std::uint64_t i = 1; i <= 20; ++i) {
    CHECK(batching.singles() == std::vector<std::uint64_t>{i, i + 20});
    CHECK(batching.batch().empty());
    REQUIRE(batching.scheduler.stored(i));
    REQUIRE(batching.scheduler.stored(i + 20));
  }
  CHECK(batching.singles().empty());
  CHECK(batching.batch().size() == 40);
}

TEST_CASE("an event that was sent by itself and not answered does not go in a batch") {
  Batching batching{100};
  batching.offer(1, "a");
  CHECK(batching.singles().size() == 1);
  batching.offer(20, "a");
  batching.scheduler.returned(1);
  CHECK(batching.singles() == std::vector<std::uint64_t>{1});
  REQUIRE(batching.scheduler.stored(1));
  CHECK(batching.singles().empty());
  CHECK(batching.batch().size() == 20);
}

TEST_CASE("a probe is one event, whatever was to go in a batch") {
  Batching batching{100};
  batching.offer(20, "a");
  CHECK(batching.singles().empty());
  batching.scheduler.probe();
  CHECK(batching.singles() == std::vector<std::uint64_t>{1});
  CHECK(batching.batch().empty());
  REQUIRE(batching.scheduler.stored(1));
  CHECK(batching.singles().empty());
  CHECK(batching.batch().size() == 19);
}

TEST_CASE("events of a suspect type go in no batch, nor does what is behind one in its aggregate") {
  Batching batching{200};
  batching.offer(1, "first", "bad");
  CHECK(batching.singles() == Tokens{1});
  batching.scheduler.suspected(1);
  batching.offer(20, "hot");           // 2 to 21
  batching.offer(1, "hot", "bad");     // 22
  batching.offer(20, "hot");           // 23 to 42
  batching.offer(20, "bad", "bad");    // 43 to 62
  batching.offer(15, "short");         // 63 to 77
  batching.offer(20, "short", "bad");  // 78 to 97
  CHECK(batching.singles() == Tokens{2});
  batching.store({2});
  CHECK(batching.singles() == Tokens{1, 63});
  REQUIRE(batching.scheduler.sent(1)->on_trial);
  const auto batch = batching.batch();
  CHECK(batch.size() == 19);
  CHECK(batch.back() == 21);
  CHECK(batching.batch().empty());
  batching.store(batch);
  CHECK(batching.singles() == Tokens{43});
  CHECK(batching.batch().empty());

  batching.store({1});  // so its type is not suspect any more
  CHECK(batching.singles().empty());
  CHECK(batching.batch().size() == 21);
}

TEST_CASE("what was to go in a batch is held when its type becomes suspect, and tried alone") {
  Batching batching{100};
  batching.offer(1, "a", "bad");
  batching.offer(1, "b");
  batching.offer(20, "hot", "bad");
  CHECK(batching.singles() == Tokens{1, 2});
  batching.scheduler.suspected(1);
  batching.store({2});
  CHECK(batching.batch().empty());
  CHECK(batching.singles() == Tokens{1});  // a probe
  batching.scheduler.suspected(1);
  batching.offer(1, "c");
  CHECK(batching.singles() == Tokens{23});
  batching.store({23});
  CHECK(batching.singles() == Tokens{1, 3});
  CHECK(batching.batch().empty());
}
