// Dead letters that are given back, among rows that PostgreSQL's scans pass over since they are too old to
// have been hidden.

#include "support/catch.hpp"
#include "support/outbox.hpp"

#include <tidings/dead_letter_rows.hpp>
#include <tidings/outbox_repository.hpp>

#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

std::vector<std::string> read(OutboxRepository& repository, int limit = 100) {
  std::vector<OutboxEvent> events;
  std::vector<std::string> ids;
  do {
    repository.read_pending(limit, events);
    for (const auto& event : events) ids.push_back(event.id);
  } while (!events.empty());
  return ids;
}

void retry_all(Outbox& outbox) {
  auto& database = outbox.database();
  DeadLetterRows dead{database};
  const auto rows = dead.read({}, 1000);
  database.transact([&](Transaction& transaction) { REQUIRE(dead.retry(transaction, rows) > 0); });
}

using Ids = std::vector<std::string>;

}  // namespace

TEST_CASE("dead letters that are given back are read in order, however old they are") {
  Outbox outbox{Engine::postgres};
  // Some hosts' clocks are ahead: what is created then is never too old to have been hidden.
  outbox.execute(insert("old", "now() - interval '1 hour'"));
  outbox.execute(insert("new", "now() + interval '1 hour'"));
  const auto relay = Database::open(outbox.url());
  const auto repository = relay->outbox();
  REQUIRE(read(*repository) == Ids{"old", "new"});
  for (int round = 0; round < 3; ++round) {  // the first that knew them from a full scan, or not
    outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER'");
    REQUIRE(read(*repository).empty());
    retry_all(outbox);
    CHECK(read(*repository) == Ids{"old", "new"});
  }
}

TEST_CASE("dead letters that are given back in the middle of a scan are read in order after it") {
  Outbox outbox{Engine::postgres};
  outbox.execute(insert("1", "now() - interval '4 hours'"));
  outbox.execute(insert("2", "now() - interval '3 hours'"));
  outbox.execute(insert("3", "now() - interval '2 hours'"));
  outbox.execute(insert("4", "now() - interval '1 hour'"));
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER' WHERE id IN ('1', '3')");
  const auto relay = Database::open(outbox.url());
  const auto repository = relay->outbox();
  std::vector<OutboxEvent> events;
  repository->read_pending(1, events);
  REQUIRE(events.at(0).id == "2");
  retry_all(outbox);  // one before the place that the scan has come to, and one behind it
  CHECK(read(*repository, 1) == Ids{"4", "1", "3"});
}
