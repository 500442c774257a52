// Events of an aggregate that one transaction has written in the same millisecond are read in the order in
// which it wrote them, whatever their ids are.

#include "support/catch.hpp"
#include "support/outbox.hpp"
#include "support/random_ids.hpp"

#include <tidings/outbox_repository.hpp>

#include <nlohmann/json.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

int number_of(const OutboxEvent& event) { return nlohmann::json::parse(event.event_data).at("n").get<int>(); }

struct Found {
  int events = 0, twice = 0, inverted = 0;
  std::size_t longest_page = 0;
};

/// All that is pending, in pages.
Found read_all(Outbox& outbox, int limit) {
  Found found;
  std::map<std::string, int> last;
  std::set<std::string> ids;
  std::vector<OutboxEvent> page;
  do {
    outbox.repository().read_pending(limit, page);
    found.longest_page = std::max(found.longest_page, page.size());
    for (const auto& event : page) {
      ++found.events;
      if (!ids.insert(event.id).second) ++found.twice;
      auto& before = last[event.aggregate_id];
      if (number_of(event) < before) ++found.inverted;
      before = number_of(event);
    }
  } while (!page.empty());
  return found;
}

constexpr int transactions = 300, events_each = 3;

/// Each of its own aggregate.
void write_transactions(Outbox& outbox, bool one_statement) {
  RandomIds ids{4711};
  std::string all;
  for (int aggregate = 0; aggregate < transactions; ++aggregate) {
    all += "BEGIN; " + insert_columns;
    for (int number = 1; number <= events_each; ++number) {
      if (number > 1) all += one_statement ? ", " : "; " + insert_columns;
      all += values(ids.next(), std::to_string(aggregate), number);
    }
    all += "; COMMIT; ";
  }
  outbox.execute(all);
}

}  // namespace

TEST_CASE("events of one transaction and millisecond are read as they were written, whatever their ids",
          "[engines]") {
  Outbox outbox{engine_under_test()};
  const bool one_statement = GENERATE(false, true);
  const int limit = GENERATE(1, 2, 7, 100, 1000);
  CAPTURE(one_statement, limit);
  write_transactions(outbox, one_statement);
  const auto found = read_all(outbox, limit);
  CHECK(found.inverted == 0);
  CHECK(found.twice == 0);
  CHECK(found.events == transactions * events_each);
}

TEST_CASE("of one INSERT, ids that grow tell the order, wherever PostgreSQL has put the rows") {
  Outbox outbox{Engine::postgres};
  const std::string stem = "0197f0c0-0000-7000-8000-00000000000";
  outbox.execute(insert_columns + values(stem + "2", "a", 2) + ", " + values(stem + "1", "a", 1));
  CHECK(read_all(outbox, 10).inverted == 0);
}

TEST_CASE("a later transaction's event of the same millisecond stands where its id says") {
  Outbox outbox{Engine::postgres};
  const auto id = [](int first) { return std::to_string(first) + "0000000-0000-4000-8000-000000000000"; };
  outbox.execute("BEGIN; " + insert_columns + values(id(5), "a", 1) + "; " + insert_columns +
                 values(id(1), "a", 3) + "; COMMIT; " + insert_columns + values(id(3), "a", 2));
  CHECK(read_all(outbox, 10).inverted == 0);
}

TEST_CASE("thousands of events of one millisecond are read once each, in pages that stay small") {
  Outbox outbox{Engine::postgres};
  constexpr int events = 5000;
  const std::string time = "'2026-03-01 10:00:00.123'";
  const std::string aggregate = GENERATE("'a'", "i::text");
  outbox.execute(
      "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, createdAt, "
      "updatedAt) SELECT gen_random_uuid(), " +
      aggregate + ", 'User', 'user.created', '{\"n\": 1}', " + time + ", " + time + ", " + time +
      " FROM generate_series(1, " + std::to_string(events) + ") AS i");
  const auto found = read_all(outbox, 300);
  CHECK(found.events == events);
  CHECK(found.twice == 0);
  CHECK(found.longest_page <= 1300);
}

TEST_CASE("the rest of a transaction's events of an aggregate is read in order, whichever were settled",
          "[engines]") {
  Outbox outbox{engine_under_test()};
  RandomIds ids{1};
  constexpr int events = 9;
  std::vector<std::string> written;
  std::string all = "BEGIN; ";
  for (int number = 1; number <= events; ++number) {
    written.push_back(ids.next());
    all += insert_columns + values(written.back(), "a", number) + "; ";
  }
  outbox.execute(all + "COMMIT");
  std::vector<OutboxEvent> page;
  outbox.repository().read_pending(100, page);
  REQUIRE(page.size() == events);
  const int settled = GENERATE(range(1, 9));
  const int limit = GENERATE(1, 2, 100);
  CAPTURE(settled, limit);
  // The table does not show yet what became of them.
  const OutboxPosition after = page.at(static_cast<std::size_t>(settled) - 1).position;
  const std::vector<std::string> passed{written.begin(), written.begin() + settled};
  const auto rest = outbox.repository().read_aggregate(
      {.aggregate_id = "a", .aggregate_type = "User", .after = after, .settled_beside = passed}, limit);
  REQUIRE_FALSE(rest.empty());
  for (std::size_t i = 0; i < rest.size(); ++i)
    CHECK(number_of(rest[i]) == settled + 1 + static_cast<int>(i));
  if (limit == 100) CHECK(rest.size() == static_cast<std::size_t>(events - settled));
  const auto head = outbox.repository().read_aggregate(
      {.aggregate_id = "a", .aggregate_type = "User", .after = after, .with_first = true}, 1);
  REQUIRE(head.size() == 1);
  CHECK(number_of(head.front()) == settled);
}
