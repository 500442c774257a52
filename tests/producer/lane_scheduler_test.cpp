#include "services/lane_scheduler.hpp"

#include "support/catch.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

using namespace tidings;
using namespace std::chrono_literals;

namespace {

OutboxEvent event(std::int64_t position, const std::string& aggregate) {
  OutboxEvent made;
  made.position = position;
  made.id = "e" + std::to_string(position);
  made.aggregate_id = aggregate;
  made.aggregate_type = "User";
  return made;
}

/// Remembers the token of each event sent, by its id.
std::map<std::string, std::uint64_t> token;

std::vector<std::string> send_all(LaneScheduler& lanes, std::size_t most = 1000) {
  std::vector<std::string> ids;
  while (ids.size() < most) {
    const auto next = lanes.next_send();
    if (!next) break;
    ids.push_back(next->event->id);
    token[next->event->id] = next->token;
  }
  return ids;
}

/// One whose chain has a head already: "e0".
LaneScheduler chained(std::size_t window) {
  LaneScheduler lanes{window};
  lanes.offer(event(0, "head"));
  REQUIRE(send_all(lanes).size() == 1);
  REQUIRE(lanes.stored(token["e0"]));
  return lanes;
}

/// The table, the stream and the processor around a scheduler, with failures drawn from a seed.
class Simulation {
 public:
  struct Failures {
    double refused = 0, trouble = 0, lost_ack = 0, foreign = 0, takeover = 0;
    bool poison = false;  ///< every 17th event is refused for ever
  };

  Simulation(unsigned seed, std::size_t window, int events, int aggregates, Failures failures,
             bool may_chain = true)
      : random_(seed), window_(window), lanes_(window), failures_(failures), may_chain_(may_chain) {
    lanes_.allow_chain(may_chain);
    for (int i = 1; i <= events; ++i)
      table_.emplace(i, Row{event(i, "a" + std::to_string(draw(aggregates))), "PENDING", {}});
  }

  /// Until every row is PUBLISHED or DEAD_LETTER. False when it makes no progress any more.
  bool run() {
    for (int round = 0; round < 200000; ++round) {
      if (settled_ == table_.size()) return true;
      read();
      send();
      answer_some();
      if (chance(0.3)) unsaved_.clear();
      if (chance(failures_.takeover)) take_over();
      clock_ += 1ms;
    }
    return false;
  }

  /// Ids of one aggregate in stream order, each at its first place.
  void check_order() const {
    std::map<std::string, std::int64_t> last;
    std::set<std::string> seen;
    for (const auto& stored : stream_) {
      if (!seen.insert(stored.id).second) continue;
      auto& previous = last[stored.aggregate_id];
      INFO("aggregate " << stored.aggregate_id << ": " << stored.position.row << " after " << previous);
      REQUIRE(stored.position.row > previous);
      previous = stored.position.row;
    }
    for (const auto& [position, row] : table_) {
      INFO("row " << position << " " << row.status);
      REQUIRE(seen.contains(row.event.id) == (row.status == "PUBLISHED"));
    }
  }

  [[nodiscard]] std::size_t dead() const {
    return static_cast<std::size_t>(std::count_if(
        table_.begin(), table_.end(), [](const auto& row) { return row.second.status == "DEAD_LETTER"; }));
  }
  [[nodiscard]] std::size_t most_in_memory() const { return most_in_memory_; }
  [[nodiscard]] bool in_commit_order() const {
    return std::is_sorted(stream_.begin(), stream_.end(), [](const auto& left, const auto& right) {
      return left.position.row < right.position.row;
    });
  }

 private:
  struct Row {
    OutboxEvent event;
    std::string status;
    Timestamp retry_at;
  };
  struct Publish {
    std::uint64_t token = 0;
    OutboxEvent event;
    std::string after;
  };

  int draw(int below) { return std::uniform_int_distribution<>{0, below - 1}(random_); }
  bool chance(double probability) { return std::bernoulli_distribution{probability}(random_); }

  void read() {
    while (lanes_.room() > 0) {
      const auto request = lanes_.next_refill(clock_);
      if (!request) break;
      std::vector<OutboxEvent> rows;
      const std::size_t limit = request->retry ? 1 : std::min<std::size_t>(3, lanes_.room());
      const auto after = request->after.row;
      const auto last = std::max(cursor_, after);
      for (auto row = request->retry ? table_.lower_bound(after) : table_.upper_bound(after);
           row != table_.end() && row->first <= last; ++row)
        if (row->second.event.aggregate_id == request->aggregate_id && rows.size() < limit &&
            (row->second.status == "PENDING" || row->second.status == "FAILED"))
          rows.push_back(row->second.event);
      const bool complete = rows.size() < limit;
      lanes_.refill(*request, std::move(rows), complete);
    }
    for (auto row = table_.upper_bound(cursor_); row != table_.end() && lanes_.room() > 0; ++row) {
      cursor_ = row->first;
      if (row->second.status == "PENDING") lanes_.offer(row->second.event);
    }
  }

  void send() {
    while (const auto next = lanes_.next_send()) {
      REQUIRE((may_chain_ || next->after.empty()));
      wire_.push_back({next->token, *next->event, next->after});
    }
    most_in_memory_ = std::max(most_in_memory_, wire_.size());
  }

  void answer_some() {
    if (failures_.foreign > 0 && chance(failures_.foreign)) last_stored_ = "foreign";
    for (int count = draw(8) + 1; count > 0 && !wire_.empty(); --count) {
      const auto publish = std::move(wire_.front());
      wire_.pop_front();
      answer(publish);
    }
  }

  /// The processor dies: what is on the wire may still arrive, marks that were not saved are lost.
  void take_over() {
    for (int arriving = draw(static_cast<int>(wire_.size()) + 1); arriving > 0; --arriving) {
      const auto publish = std::move(wire_.front());
      wire_.pop_front();
      const bool poison = failures_.poison && publish.event.position.row % 17 == 0;
      if (!poison && !ids_.contains(publish.event.id) && chained_well(publish)) store(publish.event);
    }
    wire_.clear();
    for (const auto position : unsaved_) table_.at(position).status = "PENDING";
    settled_ -= unsaved_.size();
    unsaved_.clear();
    lanes_ = LaneScheduler{window_};
    lanes_.allow_chain(may_chain_);
    cursor_ = 0;
    for (const auto& [position, row] : table_)
      if (row.status == "FAILED") lanes_.block(row.event, clock_);
  }

  [[nodiscard]] bool chained_well(const Publish& publish) const {
    return publish.after.empty() || publish.after == last_stored_;
  }

  void store(const OutboxEvent& stored) {
    stream_.push_back(stored);
    ids_.insert(stored.id);
    last_stored_ = stored.id;
  }

  void answer(const Publish& publish) {
    if (chance(failures_.trouble)) return lanes_.returned(publish.token);
    const bool known = ids_.contains(publish.event.id);
    const bool poison = failures_.poison && publish.event.position.row % 17 == 0;
    if (!known && (poison || chance(failures_.refused))) return refuse(publish);
    if (!known && !chained_well(publish)) return lanes_.returned(publish.token);
    if (!known) store(publish.event);
    if (chance(failures_.lost_ack)) return lanes_.returned(publish.token);
    const auto stored = lanes_.stored(publish.token, known);
    REQUIRE(stored);
    settle(*stored, "PUBLISHED");
    unsaved_.push_back(stored->position.row);
  }

  void refuse(const Publish& publish) {
    const auto refused =
        lanes_.refused(publish.token, [this](const OutboxEvent& row) -> std::optional<Timestamp> {
          if (row.retry_count >= 5) return std::nullopt;
          return clock_ + std::chrono::milliseconds{draw(20)};
        });
    if (!refused) return;
    auto& row = table_.at(refused->position.row);
    row.event.retry_count = refused->retry_count;
    if (refused->retry_count >= 5) return settle(*refused, "DEAD_LETTER");
    row.status = "FAILED";
  }

  void settle(const OutboxEvent& settled, const std::string& status) {
    auto& row = table_.at(settled.position.row);
    REQUIRE((row.status == "PENDING" || row.status == "FAILED"));
    row.status = status;
    ++settled_;
  }

  std::mt19937 random_;
  std::size_t window_;
  LaneScheduler lanes_;
  Failures failures_;
  bool may_chain_;
  std::map<std::int64_t, Row> table_;
  std::int64_t cursor_ = 0;
  Timestamp clock_{};
  std::deque<Publish> wire_;
  std::vector<std::int64_t> unsaved_;  // positions marked since the last commit
  std::vector<OutboxEvent> stream_;
  std::set<std::string> ids_;
  std::string last_stored_;
  std::size_t settled_ = 0;
  std::size_t most_in_memory_ = 0;
};

}  // namespace

TEST_CASE("without failures everything is sent at once, in commit order, each chained to the one before") {
  auto lanes = chained(10);
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, i % 2 == 0 ? "even" : "odd"));
  std::vector<std::string> after;
  while (const auto next = lanes.next_send()) after.push_back(next->after);
  CHECK(after == std::vector<std::string>{"e0", "e1", "e2", "e3"});
  CHECK(lanes.in_flight() == 4);
}

TEST_CASE("the head of a chain goes alone, and one that the stream had already carries none") {
  LaneScheduler lanes{10};
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  SECTION("stored") {
    REQUIRE(lanes.stored(token["e1"]));
    CHECK(lanes.next_send()->after == "e1");
  }
  SECTION("known") {
    REQUIRE(lanes.stored(token["e1"], true));
    CHECK_FALSE(lanes.chained());
    CHECK(lanes.next_send()->after.empty());
    CHECK(send_all(lanes) == std::vector<std::string>{"e3", "e4"});
  }
  SECTION("not stored") {
    lanes.returned(token["e1"]);
    CHECK_FALSE(lanes.chained());
    CHECK(send_all(lanes).size() == 4);
  }
}

TEST_CASE(
    "where no chain is allowed an event waits for the one of its aggregate, and all behind wait with it") {
  LaneScheduler lanes{10};
  lanes.allow_chain(false);
  int position = 0;
  for (const char* aggregate : {"a", "b", "a", "c"}) lanes.offer(event(++position, aggregate));
  CHECK(send_all(lanes) == std::vector<std::string>{"e1", "e2"});
  REQUIRE(lanes.stored(token["e2"]));
  CHECK(send_all(lanes).empty());
  REQUIRE(lanes.stored(token["e1"]));
  while (const auto next = lanes.next_send()) {
    CHECK(next->after.empty());
    token[next->event->id] = next->token;
  }
  CHECK(lanes.in_flight() == 2);
  REQUIRE(lanes.stored(token["e3"]));
  REQUIRE(lanes.stored(token["e4"]));
}

TEST_CASE("where no chain is allowed others pass the events of an aggregate that failed") {
  LaneScheduler lanes{10};
  lanes.allow_chain(false);
  int position = 0;
  for (const char* aggregate : {"a", "a", "b", "b"}) lanes.offer(event(++position, aggregate));
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  lanes.returned(token["e1"]);
  CHECK(send_all(lanes) == std::vector<std::string>{"e1", "e3"});
  REQUIRE(lanes.stored(token["e3"]));
  CHECK(send_all(lanes) == std::vector<std::string>{"e4"});
}

TEST_CASE(
    "where no chain is allowed, commit order is kept again when no lane has rows in the table any more") {
  LaneScheduler lanes{1000};
  lanes.allow_chain(false);
  std::int64_t position = 0;
  const auto publish_another = [&] {
    lanes.offer(event(++position, "b"));
    const auto ids = send_all(lanes);
    REQUIRE(ids == std::vector<std::string>{"e" + std::to_string(position)});
    REQUIRE(lanes.stored(token[ids[0]]));
  };
  const auto others_pass = [&] {
    for (const char* aggregate : {"b", "b", "c"}) lanes.offer(event(++position, aggregate));
    const auto sent = send_all(lanes).size();
    for (auto at = position - 2; at <= position; ++at) {
      REQUIRE(lanes.stored(token["e" + std::to_string(at)]));
      send_all(lanes);
    }
    return sent == 2;
  };
  lanes.offer(event(++position, "a"));
  CHECK(send_all(lanes).size() == 1);
  lanes.returned(token["e1"]);
  std::vector<OutboxEvent> rest;
  for (int i = 0; i < 99; ++i) {
    rest.push_back(event(++position, "a"));
    lanes.offer(rest.back());
  }
  CHECK(send_all(lanes).size() == 1);
  CHECK(lanes.left_behind() > 0);
  for (int i = 0; i < 5000; ++i) publish_another();
  CHECK(others_pass());

  const auto left = static_cast<std::size_t>(lanes.left_behind());
  for (std::size_t at = 1; at <= 100 - left; ++at) {
    REQUIRE(lanes.stored(token["e" + std::to_string(at)]));
    send_all(lanes);
  }
  const auto request = lanes.next_refill({});
  REQUIRE(request);
  lanes.refill(*request, {rest.end() - static_cast<std::ptrdiff_t>(left), rest.end()}, true);
  for (auto at = 101 - left; at <= 100; ++at) {
    send_all(lanes);
    REQUIRE(lanes.stored(token["e" + std::to_string(at)]));
  }
  publish_another();
  CHECK_FALSE(others_pass());
}

TEST_CASE("where no chain is allowed others pass what a blocked aggregate had left in the table") {
  LaneScheduler lanes{100};
  lanes.allow_chain(false);
  lanes.block(event(1, "a"), Timestamp{1s});
  std::vector<OutboxEvent> rest;
  for (int i = 2; i <= 5; ++i) {
    rest.push_back(event(i, "a"));
    lanes.offer(rest.back());
  }
  const auto retry = lanes.next_refill(Timestamp{1s});
  REQUIRE(retry);
  lanes.refill(*retry, {event(1, "a")}, false);
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  REQUIRE(lanes.stored(token["e1"]));
  const auto more = lanes.next_refill(Timestamp{1s});
  REQUIRE(more);
  lanes.refill(*more, rest, true);
  for (int i = 6; i <= 8; ++i) lanes.offer(event(i, "b" + std::to_string(i)));
  CHECK(send_all(lanes) == std::vector<std::string>{"e2", "e6", "e7", "e8"});
}

TEST_CASE("a chain that is not allowed any more ends when what is in flight has landed") {
  auto lanes = chained(10);
  for (int i = 1; i <= 3; ++i) lanes.offer(event(i, "a"));
  CHECK(send_all(lanes, 2) == std::vector<std::string>{"e1", "e2"});
  lanes.allow_chain(false);
  CHECK(send_all(lanes).empty());
  REQUIRE(lanes.stored(token["e1"]));
  REQUIRE(lanes.stored(token["e2"]));
  const auto third = lanes.next_send();
  REQUIRE(third);
  CHECK(third->after.empty());
}

TEST_CASE("a chain that becomes allowed begins with a head that goes alone") {
  LaneScheduler lanes{10};
  lanes.allow_chain(false);
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  CHECK(send_all(lanes, 1) == std::vector<std::string>{"e1"});
  lanes.allow_chain(true);
  CHECK(send_all(lanes).empty());
  REQUIRE(lanes.stored(token["e1"]));
  CHECK(send_all(lanes) == std::vector<std::string>{"e2"});
  REQUIRE(lanes.stored(token["e2"]));
  const auto third = lanes.next_send();
  REQUIRE(third);
  CHECK(third->after == "e2");
}

TEST_CASE("a chain that is not allowed is not tried again after a failure, and is once it is allowed") {
  LaneScheduler lanes{10};
  lanes.allow_chain(false);
  std::int64_t position = 0;
  bool fail = true;
  const auto chains_within = [&](int events) {
    for (int i = 0; i < events; ++i) {
      lanes.offer(event(++position, "a"));
      auto next = lanes.next_send();
      REQUIRE(next);
      if (std::exchange(fail, false)) {
        lanes.returned(next->token);
        next = lanes.next_send();
        REQUIRE(next);
      }
      if (!next->after.empty() || lanes.chained()) return true;
      REQUIRE(lanes.stored(next->token));
    }
    return false;
  };
  CHECK_FALSE(chains_within(5000));
  lanes.allow_chain(true);
  CHECK(chains_within(5000));
}

TEST_CASE("after a refusal nothing is sent until all that was in flight has landed") {
  auto lanes = chained(10);
  for (int i = 1; i <= 4; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  REQUIRE(send_all(lanes, 3).size() == 3);
  const auto in_ten_minutes = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{10min}; };
  REQUIRE(lanes.refused(token["e1"], in_ten_minutes));
  lanes.offer(event(5, "a5"));
  CHECK(send_all(lanes).empty());
  lanes.returned(token["e2"]);
  CHECK(send_all(lanes).empty());
  lanes.returned(token["e3"]);
  CHECK(send_all(lanes) == std::vector<std::string>{"e2", "e3", "e4", "e5"});
  CHECK(lanes.blocked() == 1);
}

TEST_CASE("a refused event's successors stay in the table until it is stored, others go on") {
  auto lanes = chained(10);
  for (const auto& [position, aggregate] : {std::pair{1, "bad"}, {2, "bad"}, {3, "good"}})
    lanes.offer(event(position, aggregate));
  send_all(lanes);
  REQUIRE(lanes.refused(token["e1"],
                        [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{1s}; }));
  lanes.returned(token["e2"]);
  lanes.returned(token["e3"]);
  lanes.offer(event(4, "bad"));
  CHECK(send_all(lanes) == std::vector<std::string>{"e3"});
  CHECK(lanes.left_behind() == 2);
  CHECK_FALSE(lanes.next_refill(Timestamp{999ms}));

  const auto retry = lanes.next_refill(Timestamp{1s});
  REQUIRE(retry);
  CHECK(retry->aggregate_id == "bad");
  CHECK(retry->after.row == 1);
  lanes.refill(*retry, {event(1, "bad")}, true);
  REQUIRE(lanes.stored(token["e3"]));
  const auto again = lanes.next_send();
  REQUIRE(again);
  CHECK(again->event->id == "e1");
  REQUIRE(lanes.stored(again->token));

  const auto rest = lanes.next_refill(Timestamp{1s});
  REQUIRE(rest);
  CHECK(rest->after.row == 1);
  lanes.refill(*rest, {event(2, "bad"), event(4, "bad")}, true);
  CHECK(lanes.left_behind() == 0);
  CHECK(send_all(lanes).front() == "e2");
}

TEST_CASE("the count of attempts does not wait for the table to show it") {
  auto lanes = chained(10);
  lanes.offer(event(1, "a"));
  const auto again = [](const OutboxEvent&) -> std::optional<Timestamp> { return Timestamp{}; };
  for (int attempt = 1; attempt <= 3; ++attempt) {
    const auto next = lanes.next_send();
    REQUIRE(next);
    CHECK(lanes.refused(next->token, again)->retry_count == attempt);
    const auto retry = lanes.next_refill(Timestamp{});
    REQUIRE(retry);
    lanes.refill(*retry, {event(1, "a")}, true);  // as it was before the first attempt
  }
}

TEST_CASE("an outcome that comes twice, or for an event that is gone, changes nothing") {
  auto lanes = chained(10);
  lanes.offer(event(1, "a"));
  send_all(lanes);
  REQUIRE(lanes.stored(token["e1"]));
  CHECK_FALSE(lanes.stored(token["e1"]));
  lanes.returned(token["e1"]);
  lanes.offer(event(2, "a"));  // takes the slot over
  send_all(lanes);
  CHECK_FALSE(lanes.stored(token["e1"]));
  CHECK(lanes.in_flight() == 1);
}

TEST_CASE("a probe sends one event until one is stored") {
  auto lanes = chained(10);
  for (int i = 1; i <= 3; ++i) lanes.offer(event(i, "a" + std::to_string(i)));
  send_all(lanes);
  for (const auto* id : {"e1", "e2", "e3"}) lanes.returned(token[id]);
  lanes.probe();
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  lanes.returned(token["e1"]);
  CHECK(send_all(lanes) == std::vector<std::string>{"e1"});
  REQUIRE(lanes.stored(token["e1"]));
  CHECK(send_all(lanes) == std::vector<std::string>{"e2", "e3"});
}

TEST_CASE("an aggregate found FAILED at start is blocked until its time, and its rows are counted") {
  auto lanes = chained(10);
  lanes.block(event(5, "a"), Timestamp{1s});
  lanes.offer(event(6, "a"));
  lanes.offer(event(7, "b"));
  CHECK(send_all(lanes) == std::vector<std::string>{"e7"});
  CHECK(lanes.blocked() == 1);
  CHECK(lanes.next_retry() == Timestamp{1s});
  CHECK(lanes.left_behind() == 1);
  const auto retry = lanes.next_refill(Timestamp{2s});
  REQUIRE(retry);
  CHECK(retry->after.row == 5);
}

TEST_CASE("a row that is gone when its retry is due frees its aggregate") {
  auto lanes = chained(10);
  lanes.block(event(5, "a"), Timestamp{0s});
  const auto retry = lanes.next_refill(Timestamp{0s});
  REQUIRE(retry);
  lanes.refill(*retry, {}, true);
  lanes.offer(event(6, "a"));
  CHECK(send_all(lanes) == std::vector<std::string>{"e6"});
}

TEST_CASE("without failures the whole outbox goes out in commit order") {
  Simulation simulation{1, 50, 500, 7, {}, GENERATE(true, false)};
  REQUIRE(simulation.run());
  simulation.check_order();
  CHECK(simulation.in_commit_order());
}

TEST_CASE("whatever fails, each aggregate keeps its order and every event is stored or dead") {
  const auto seed = GENERATE(range(0U, 60U));
  const auto aggregates = GENERATE(1, 5, 400);
  const Simulation::Failures failures{.refused = 0.03 * (seed % 3),
                                      .trouble = 0.05 * (seed % 4),
                                      .lost_ack = 0.05 * (seed % 2),
                                      .foreign = seed % 5 == 0 ? 0.2 : 0,
                                      .takeover = seed % 3 == 1 ? 0.05 : 0,
                                      .poison = seed % 7 == 3};
  const bool may_chain = GENERATE(true, false);
  Simulation simulation{seed, 16 + seed, 400, aggregates, failures, may_chain};
  INFO("seed " << seed << " aggregates " << aggregates << " may chain " << may_chain);
  REQUIRE(simulation.run());
  simulation.check_order();
  CHECK(simulation.most_in_memory() <= 16 + seed);
  if (failures.poison) CHECK(simulation.dead() >= 400 / 17);
}

TEST_CASE("a long chain is tried again after a break") {
  Simulation simulation{3, 64, 5000, 40, {.refused = 0.0005}};
  REQUIRE(simulation.run());
  simulation.check_order();
}
