// No statement of the hot path depends on what PostgreSQL's planner believes of the table: whatever it looked
// like when it was last analyzed, each looks at the rows that it is about, and not at all that are there.

#include "infrastructure/lease.hpp"
#include "infrastructure/outcome.hpp"
#include "support/catch.hpp"
#include "support/outbox.hpp"

#include <tidings/outbox_repository.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <regex>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using namespace std::chrono_literals;

namespace {

constexpr int rows_of_each = 100'000;
constexpr long most_looked_at = 5'000;  // batches are of some hundred

/// Of aggregates with a row in each status; PENDING ones are newer, as in life.
std::string fill(const std::string& status) {
  const std::string day = status == "PENDING" ? "2" : "1";
  return "INSERT INTO outbox_event(id, aggregateId, aggregateType, eventType, eventData, occurredAt, "
         "createdAt, updatedAt, publishedAt, status) SELECT '" +
         status + "-' || i, 'user-' || i, 'User', 'user.created', '{}', time, time, time, time, '" + status +
         "' FROM (SELECT i, '2026-01-0" + day + "'::timestamp + i * interval '1 ms' AS time FROM " +
         "generate_series(1, " + std::to_string(rows_of_each) + ") AS i) AS numbers; ";
}

/// The server writes down how it has run each statement.
class ExplainedOutbox : public Outbox {
 public:
  explicit ExplainedOutbox(const std::string& statistics) : Outbox(Engine::postgres) {
    const std::string analyze = "; ANALYZE outbox_event; ";
    execute("ALTER TABLE outbox_event SET (autovacuum_enabled = false)");
    if (statistics == "empty") execute(analyze + fill("PUBLISHED") + fill("PENDING"));
    if (statistics == "all PENDING") execute(fill("PENDING") + analyze + fill("PUBLISHED"));
    if (statistics == "all PUBLISHED") execute(fill("PUBLISHED") + analyze + fill("PENDING"));
    for (const auto* setting :
         {"session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0",
          "auto_explain.log_analyze = on", "auto_explain.log_timing = off", "log_min_messages = log"})
      execute("LOAD 'auto_explain'; ALTER DATABASE postgres SET " + std::string{setting});
  }

  /// What was run since the last call.
  std::string plans() {
    const auto log = server().log();
    auto since = log.substr(read_);
    read_ = log.size();
    return since;
  }

 private:
  std::size_t read_ = 0;
};

/// The most rows that a part of a plan has looked at, whether it took them or not.
long looked_at(const std::string& plans) {
  static const std::regex taken{R"(\(actual rows=(\d+) loops=(\d+)\))"},
      dropped{R"(Rows Removed by (?:Index Recheck|Filter|Join Filter): (\d+))"};
  long most = 0;
  for (auto at = std::sregex_iterator{plans.begin(), plans.end(), taken}; at != std::sregex_iterator{}; ++at)
    most = std::max(most, std::stol((*at)[1]) * std::stol((*at)[2]));
  for (auto at = std::sregex_iterator{plans.begin(), plans.end(), dropped}; at != std::sregex_iterator{};
       ++at)
    most = std::max(most, std::stol((*at)[1]));
  return most;
}

std::vector<Outcome> outcomes(int first, int count, RowStatus status) {
  std::vector<Outcome> all;
  for (int i = first; i < first + count; ++i)
    all.push_back({.position = {},
                   .id = "PENDING-" + std::to_string(i),
                   .status = status,
                   .retry_count = 1,
                   .error = status == RowStatus::published ? "" : "no",
                   .at = now()});
  return all;
}

}  // namespace

TEST_CASE("no statement of the hot path depends on the table's statistics") {
  const std::string statistics = GENERATE("empty", "all PENDING", "all PUBLISHED");
  CAPTURE(statistics);
  ExplainedOutbox outbox{statistics};
  const auto service = Database::open(outbox.url()),
             processor = Database::open(outbox.url(), Database::Open::processor);
  const auto repository = processor->outbox();
  Lease lease{"holder", 1h};
  REQUIRE(lease.try_take(*processor));
  const auto check = [&outbox](const std::string& what, const std::function<void()>& work) {
    (void)outbox.plans();
    // Before the sixth time PostgreSQL may plan for the values at hand, later perhaps for any.
    for (int i = 0; i < 7; ++i) work();
    const auto plans = outbox.plans();
    INFO(what << "\n" << plans.substr(0, 12'000));
    CHECK(plans.find("plan:") != std::string::npos);
    CHECK(plans.find("Seq Scan on outbox_event") == std::string::npos);
    CHECK(looked_at(plans) < most_looked_at);
  };
  const auto in_transaction = [&](const std::vector<Outcome>& batch, bool delete_published) {
    processor->transact([&](Transaction& transaction) {
      REQUIRE(lease.renew(transaction));
      (void)write_outcomes(transaction, batch, delete_published);
      write_processor_record(transaction, {}, 0);
    });
  };
  in_transaction({}, false);  // counts what is PUBLISHED, once

  std::vector<OutboxEvent> page;
  check("read_pending", [&] { repository->read_pending(300, page); });
  CHECK(page.size() == 300);
  check("read_aggregate", [&] {
    const std::string id = "user-4711", type = "User";
    CHECK(
        repository->read_aggregate({.aggregate_id = id, .aggregate_type = type, .after = {}}, 1024).size() ==
        1);
  });
  check("read_retries", [&] { (void)repository->read_retries({}, 1000); });
  check("oldest_pending", [&] { (void)repository->oldest_pending(); });
  int next = 1;
  const auto some = [&next](RowStatus status, int count) {
    auto batch = outcomes(next, count, status);
    next += count;
    return batch;
  };
  for (const bool deletes : {false, true}) {
    check("marks at once",
          [&] { CHECK(write_at_once(*processor, lease, some(RowStatus::published, 300), {}, deletes)); });
    check("marks in a transaction", [&] { in_transaction(some(RowStatus::published, 300), deletes); });
  }
  check("marks with rows that are settled",
        [&] { in_transaction(outcomes(1, 300, RowStatus::published), false); });
  check("marks without locked rows", [&] {
    processor->transact([&](Transaction& transaction) {
      auto batch = some(RowStatus::published, 300);
      std::string why;
      CHECK(take_locked(transaction, batch, why).empty());
    });
  });
  for (const auto status : {RowStatus::processing, RowStatus::failed, RowStatus::dead_letter})
    check("other outcomes", [&] { in_transaction(some(status, 3), false); });
  check("read_retries where there are some", [&] { CHECK(repository->read_retries({}, 1000).size() >= 40); });
  check("cleanup", [&] {
    processor->transact(
        [&](Transaction& transaction) { (void)repository->cleanup(transaction, now(), 100); });
  });
  const auto events = service->outbox();
  check("insert", [&] {
    service->transact([&](Transaction& transaction) {
      DomainEvent event;
      event.aggregate_id = "user-1";
      event.aggregate_type = "User";
      events->add(transaction, event);
    });
  });
}
