// Order and completeness of what is read from PostgreSQL while transactions are open, in many random
// histories.

#include "infrastructure/postgres/snapshot_scans.hpp"

#include "support/catch.hpp"
#include "support/imitated_postgres.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

namespace {

using Milliseconds = ImitatedPostgres::Milliseconds;

constexpr Milliseconds slack = 200;  // that scans allow between a row's createdAt and its transaction's id
constexpr Milliseconds longest_gap = 150;  // that writers take

/// What a statement takes for the next id, and when.
enum class NextId { read_after_clock, read_before_clock, highest_over };

/// Writers of a few aggregates, other transactions, and a reader, whose steps a seed puts in order.
class Simulation {
 public:
  struct Found {
    int events = 0, inverted = 0, late = 0, twice = 0;
    Found& operator+=(const Found& other) {
      events += other.events, inverted += other.inverted, late += other.late, twice += other.twice;
      return *this;
    }
  };

  Simulation(unsigned seed, TransactionId first_id, NextId next_id)
      : random_(seed),
        next_id_(next_id),
        database_(first_id),
        writers_(static_cast<std::size_t>(1 + draw(5))) {
    aggregates_ = 1 + draw(3);
    longest_stay_ = chance(0.5) ? 3000 : 50;
  }

  Found run(int reads) {
    while (reads > 0) {
      step();
      if (chance(0.3)) read(), --reads;
      if (chance(0.02)) rewind();
    }
    return found_;
  }

 private:
  /// Holds its aggregate's lock from `lock` to the end of the transaction.
  struct Writer {
    enum class Does { nothing, waits, inserts, works } does = Does::nothing;
    std::string aggregate;
    std::optional<TransactionId> id;
    Milliseconds created_at = 0, until = 0;
  };

  int draw(int below) { return std::uniform_int_distribution<>{0, below - 1}(random_); }
  bool chance(double probability) { return std::bernoulli_distribution{probability}(random_); }

  void pass(Milliseconds time) {
    for (auto& writer : writers_)
      if (writer.does == Writer::Does::inserts && writer.created_at + longest_gap <= database_.time() + time)
        insert(writer);
    database_.pass(time);
  }

  void step() {
    pass(1 + draw(chance(0.1) ? 300 : 10));
    auto& writer = writers_[static_cast<std::size_t>(draw(static_cast<int>(writers_.size())))];
    switch (writer.does) {
      case Writer::Does::nothing:
        return begin(writer);
      case Writer::Does::waits:
        return lock(writer);
      case Writer::Does::inserts:
        return insert(writer);
      case Writer::Does::works:
        return work(writer);
    }
  }

  void begin(Writer& writer) {
    writer = {};
    writer.does = Writer::Does::waits;
    writer.aggregate = std::string(1, static_cast<char>('a' + draw(aggregates_)));
    if (chance(0.5)) writer.id = database_.give_id();  // else with the lock, or at the first insert
  }

  void lock(Writer& writer) {
    auto& holder = locks_[writer.aggregate];
    if (holder != nullptr) return;
    holder = &writer;
    if (!writer.id && chance(0.5)) writer.id = database_.give_id();
    writer.until = database_.time() + draw(longest_stay_);
    begin_insert(writer);
  }

  void begin_insert(Writer& writer) {
    writer.created_at = database_.time();
    writer.does = Writer::Does::inserts;
  }

  void insert(Writer& writer) {
    auto id = writer.id;
    if (!id)
      id = writer.id = database_.give_id();
    else if (chance(0.2))
      id = database_.give_id(writer.id);  // in a savepoint
    database_.insert(*id, writer.aggregate, ++numbers_[writer.aggregate], writer.created_at);
    writer.does = Writer::Does::works;
  }

  void work(Writer& writer) {
    if (database_.time() < writer.until && chance(0.8)) return;
    if (chance(0.3)) return begin_insert(writer);
    if (chance(0.1))
      database_.roll_back(*writer.id);
    else
      database_.commit(*writer.id);
    locks_[writer.aggregate] = nullptr;
    writer.does = Writer::Does::nothing;
  }

  void read() {
    std::vector<std::string> owed;
    for (const auto& row : database_.rows())
      if (row.pending && database_.is_committed(row) && !given_.contains(row.id())) owed.push_back(row.id());
    const int limit = chance(0.5) ? 1 + draw(4) : 1000;
    std::vector<OutboxEvent> events;
    scans_.read(
        limit, now(), [this](const ScanQuery& query) { return page(query); }, events);
    for (const auto& event : events) take(event);
    if (events.size() < static_cast<std::size_t>(limit))
      found_.late += static_cast<int>(
          std::count_if(owed.begin(), owed.end(), [&](const auto& id) { return !given_.contains(id); }));
    if (chance(0.7)) publish();
  }

  /// Others go on between all that a statement does.
  ScanPage page(const ScanQuery& query) {
    const auto steps = [this] {
      for (int count = draw(4); count > 0; --count) step();
    };
    ScanPage page;
    const auto snapshot = database_.snapshot();
    steps();
    page.next_id = database_.next_id();
    if (next_id_ == NextId::read_before_clock) steps();
    const auto time = database_.time();
    if (next_id_ == NextId::read_after_clock) {
      steps();
      page.next_id = database_.next_id();
    }
    if (next_id_ == NextId::highest_over) page.next_id = snapshot.xmax;
    steps();
    page.oldest_open = snapshot.xmin;
    page.created_from = ImitatedPostgres::text(time - slack);
    page.assumed_from = ImitatedPostgres::text(time - 600'000);
    page.rows = database_.read(snapshot, query);
    page.at = now();
    return page;
  }

  [[nodiscard]] SnapshotScans::Clock::time_point now() const {
    return SnapshotScans::Clock::time_point{std::chrono::milliseconds{database_.time()}};
  }

  void take(const OutboxEvent& event) {
    ++found_.events;
    if (!given_.insert(event.id).second) ++found_.twice;
    const int number = std::stoi(event.id.substr(event.id.find('/') + 1));
    auto& last = last_[event.aggregate_id];
    if (number < last) ++found_.inverted;
    last = std::max(last, number);
  }

  /// In a transaction that has an id as well.
  void publish() {
    const auto id = database_.give_id();
    for (auto& row : database_.rows())
      if (given_.contains(row.id())) row.pending = false;
    database_.commit(id);
  }

  /// As the relay does it: only when all that was read is marked.
  void rewind() {
    publish();
    scans_.start_over();
  }

  std::mt19937 random_;
  NextId next_id_;
  ImitatedPostgres database_;
  SnapshotScans scans_;
  std::vector<Writer> writers_;
  int aggregates_, longest_stay_;
  std::map<std::string, Writer*> locks_;
  std::map<std::string, int> numbers_;
  std::map<std::string, int> last_;  // by aggregate: what was given
  std::set<std::string> given_;
  Found found_;
};

Simulation::Found simulate(unsigned seeds, NextId next_id, TransactionId first_id = 731) {
  Simulation::Found found;
  for (unsigned seed = 0; seed < seeds; ++seed) found += Simulation{seed, first_id, next_id}.run(200);
  return found;
}

}  // namespace

TEST_CASE(
    "what is read from snapshots is in order, complete and given once, whichever transactions are open") {
  // Also where the lower half of the ids becomes negative, and where it starts over.
  const auto first_id = GENERATE(as<TransactionId>{}, 731, (1ULL << 31U) - 300, (5ULL << 32U) - 300);
  const auto found = simulate(150, NextId::read_after_clock, first_id);
  CHECK(found.inverted == 0);
  CHECK(found.late == 0);
  CHECK(found.twice == 0);
  CHECK(found.events > 10'000);
}

TEST_CASE(
    "the simulation of open transactions finds out who takes the highest id that is over for the last") {
  const auto found = simulate(150, NextId::highest_over);
  CHECK(found.inverted > 0);
  CHECK(found.late > 0);
}

TEST_CASE("the simulation of open transactions finds out who reads the next id before the clock") {
  const auto found = simulate(150, NextId::read_before_clock);
  CHECK(found.late > 0);
}
