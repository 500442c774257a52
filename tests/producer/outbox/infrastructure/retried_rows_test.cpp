// Dead letters that are given back, among rows that the relay passes over: PostgreSQL's scans since they are
// too old to have been hidden, SQLite's cursor since it stands behind them.

#include "support/catch.hpp"
#include "support/jetstream.hpp"
#include "support/nats_server.hpp"
#include "support/outbox.hpp"
#include "support/processor.hpp"
#include "support/wait.hpp"

#include <tidings/dead_letter_rows.hpp>
#include <tidings/outbox_repository.hpp>

#include <stop_token>
#include <string>
#include <thread>
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

TEST_CASE("dead letters are not given back by a login that may not tell the relay, which is told the GRANT") {
  Outbox outbox{Engine::postgres};
  outbox.add("a");
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER'");
  const std::string right = GENERATE("INSERT", "UPDATE");
  outbox.execute(
      "CREATE ROLE operator LOGIN; GRANT SELECT, UPDATE ON outbox_event TO operator; "
      "GRANT SELECT, INSERT, UPDATE ON outbox_state TO operator; REVOKE " +
      right + " ON outbox_state FROM operator");
  const auto database = Database::open(
      "postgresql://operator@127.0.0.1:" + std::to_string(outbox.server().port()) + "/postgres",
      Database::Open::operations);
  DeadLetterRows dead{*database};
  const auto rows = dead.read({}, 10);
  REQUIRE(rows.size() == 1);
  CHECK_THROWS_WITH(
      database->transact([&](Transaction& transaction) { (void)dead.retry(transaction, rows); }),
      ContainsSubstring("GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_state TO operator"));
  CHECK(outbox.count_status("DEAD_LETTER") == 1);
}

TEST_CASE("a relay on SQLite that is never idle takes dead letters that are given back, in their order") {
  const NatsServer server;
  JetStream jetstream{server.url()};
  Outbox outbox;
  const Ids dead{outbox.add("hot"), outbox.add("hot")};
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER'");
  outbox.add("other");
  Processor processor{outbox, server.url(), quick()};  // polls once a minute
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") == 1);
  std::jthread busy{[&outbox](const std::stop_token& stop) {
    const auto database = Database::open(outbox.url());
    const auto repository = database->outbox();
    for (int number = 0; !stop.stop_requested(); ++number) {
      DomainEvent event;
      event.aggregate_id = "user-" + std::to_string(number % 50);
      event.aggregate_type = "User";
      event.event_type = "user.created";
      database->transact([&](Transaction& transaction) { repository->add(transaction, event); });
    }
  }};
  REQUIRE_WITHIN(10s, outbox.count_status("PUBLISHED") > 100);
  retry_all(outbox);
  const auto later = outbox.add("hot");
  const auto published = [&outbox](const std::string& id) {
    return outbox.value(id, "status") == "PUBLISHED";
  };
  REQUIRE_WITHIN(10s, published(dead[0]) && published(dead[1]) && published(later));
  busy = {};
  Ids hot;
  for (const auto& message : jetstream.messages("AUTH_EVENTS"))
    if (message.header("ce-subject") == "hot") hot.push_back(message.header("ce-id"));
  CHECK(hot == Ids{dead[0], dead[1], later});
}
