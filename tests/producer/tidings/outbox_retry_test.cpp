// `tidings outbox retry` and `purge`.

#include "support/catch.hpp"
#include "support/relays.hpp"
#include "support/sized_json.hpp"
#include "support/wait.hpp"

#include <nlohmann/json.hpp>

#include <csignal>
#include <optional>
#include <string>
#include <vector>

using namespace tidings;
using namespace tidings::test;

namespace {

std::vector<std::string> words(std::vector<std::string> first, const std::vector<std::string>& more) {
  first.insert(first.end(), more.begin(), more.end());
  return first;
}

Finished outbox_command(const Outbox& outbox, const std::vector<std::string>& arguments,
                        const std::string& input = {}) {
  return run(executable("tidings"), words({"outbox"}, arguments),
             {.environment = {{"DATABASE_URL", outbox.url()}}, .input = input}, 60s);
}

void make_dead(const Outbox& outbox, const std::string& where, const std::string& error = "no such stream") {
  outbox.execute("UPDATE outbox_event SET status = 'DEAD_LETTER', retryCount = 5, lastError = '" + error +
                 "', processedAt = updatedAt WHERE " + where);
}

/// Whoever writes the row of `id` waits for as long as this lives; in SQLite for as long as the writer does.
class HeldRow {
 public:
  HeldRow(const Outbox& outbox, const std::string& id) : outbox_(outbox) {
    if (outbox.engine() == Engine::sqlite) {
      outbox.execute("CREATE TRIGGER held BEFORE UPDATE ON outbox_event WHEN old.id = '" + id +
                     "' BEGIN SELECT count(*) FROM (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 "
                     "FROM n) SELECT x FROM n); END");
      return;
    }
    locker_.emplace(outbox.url());
    locker_->connect();
    locker_->script("BEGIN; SELECT FROM outbox_event WHERE id = '" + id + "' FOR UPDATE");
  }
  ~HeldRow() {
    if (locker_)
      locker_->rollback();
    else
      outbox_.execute("DROP TRIGGER held");
  }
  HeldRow(const HeldRow&) = delete;
  HeldRow& operator=(const HeldRow&) = delete;

 private:
  const Outbox& outbox_;
  std::optional<PostgresConnection> locker_;
};

std::vector<std::string> ids_in_stream(Relays& relays) {
  std::vector<std::string> ids;
  for (const auto& message : relays.jetstream.messages("AUTH_EVENTS")) ids.push_back(message.header("ce-id"));
  return ids;
}

void publish_all(const Relays& relays) {
  auto relay = relays.start({}, {"--drain"});
  REQUIRE(relay.wait() == exited(0));
}

}  // namespace

TEST_CASE("dead letters whose retry is killed and repeated go out once each, in order in their aggregates",
          "[engines]") {
  Relays relays{engine_under_test()};
  relays.outbox.add_many(10000, 100);
  make_dead(relays.outbox, "true");
  const auto relay = relays.start({{"OUTBOX_PROCESSING_INTERVAL_MS", "100"}, {"OUTBOX_LEASE_MS", "10000"}});
  REQUIRE_WITHIN(10s, relays.active() == relay.pid());
  {
    const HeldRow held{relays.outbox, relays.outbox.in_order().at(6000)};
    Process retry{executable("tidings"),
                  {"outbox", "retry", "--all-dead"},
                  {.environment = {{"DATABASE_URL", relays.outbox.url()}}, .input = {}, .log_folder = {}}};
    REQUIRE_WITHIN(60s, relays.outbox.count_status("DEAD_LETTER") <= 4000);
    retry.kill(SIGKILL);
    CHECK(retry.wait() == killed_by(SIGKILL));
  }
  CHECK(relays.outbox.count_status("DEAD_LETTER") == 4000);
  const auto again = outbox_command(relays.outbox, {"retry", "--all-dead"});
  INFO(again.err);
  CHECK(again.exit == exited(0));
  CHECK(again.out == "retried 4000 of 4000\n");
  REQUIRE_WITHIN(60s, relays.all_published());
  CHECK(relays.audit() == "");
}

TEST_CASE("a dead letter that is retried goes out before what waits of its aggregate", "[engines]") {
  Relays relays{engine_under_test()};
  const std::vector<std::string> ids{relays.outbox.add("a"), relays.outbox.add("a"), relays.outbox.add("a")};
  make_dead(relays.outbox, "id <> '" + ids[2] + "'");
  // Named in another order, and one of them twice.
  const auto retried = outbox_command(relays.outbox, {"retry", ids[1], ids[0], ids[1], "--json"});
  CHECK(retried.exit == exited(0));
  CHECK(nlohmann::json::parse(retried.out) == nlohmann::json{{"retried", 2}, {"left", 0}});
  publish_all(relays);
  CHECK(ids_in_stream(relays) == ids);
  CHECK(relays.audit() == "");
}

TEST_CASE("an active relay sends what it has given up again once it is retried", "[engines]") {
  Relays relays{engine_under_test()};
  relays.jetstream.add_stream("AUTH_EVENTS", {"auth.events.>"}, {{"max_msg_size", 1000}});
  const auto relay = relays.start({{"OUTBOX_MAX_RETRIES", "1"}, {"OUTBOX_PROCESSING_INTERVAL_MS", "100"}});
  const auto large = json_of_size(2000);
  for (int i = 0; i < 40; ++i) (void)relays.outbox.add(std::to_string(i % 4), large);
  REQUIRE_WITHIN(20s, relays.outbox.count_status("DEAD_LETTER") == 40);
  auto config = relays.jetstream.stream_config("AUTH_EVENTS");
  config["max_msg_size"] = -1;
  relays.jetstream.api("STREAM.UPDATE.AUTH_EVENTS", config);
  CHECK(outbox_command(relays.outbox, {"retry", "--all-dead"}).out == "retried 40 of 40\n");
  REQUIRE_WITHIN(20s, relays.all_published());
  CHECK(relays.audit() == "");
}

TEST_CASE("ids that name no dead letter are told, and the others are retried", "[engines]") {
  Outbox outbox{engine_under_test()};
  const auto dead = outbox.add("a"), waiting = outbox.add("b");
  make_dead(outbox, "id = '" + dead + "'");
  const auto finished = outbox_command(outbox, {"retry", waiting, "none", dead});
  CHECK(finished.exit == exited(1));
  CHECK(finished.out == "retried 1 of 1\n");
  CHECK_THAT(finished.err, ContainsSubstring(waiting + ": is PENDING, not a dead letter") &&
                               ContainsSubstring("none: there is no such event"));
  CHECK(outbox.value(dead, "status") == "PENDING");
  CHECK(outbox.value(dead, "retryCount") == "0");
  CHECK(outbox.value(dead, "lastError") == "NULL");
  CHECK(outbox.value(dead, "processedAt") == "NULL");
}

TEST_CASE("dead letters are chosen by a part of their reason", "[engines]") {
  Outbox outbox{engine_under_test()};
  outbox.add_many(600, 7);
  make_dead(outbox, "aggregateId <> 'user-3'", "larger than the server takes");
  make_dead(outbox, "aggregateId = 'user-3'", "no such stream");
  const auto chosen = outbox.count("aggregateId = 'user-3'");
  const auto counts = std::to_string(chosen) + " of " + std::to_string(chosen);
  CHECK(outbox_command(outbox, {"retry", "--reason", "such stream"}).out == "retried " + counts + "\n");
  CHECK(outbox.count("status = 'PENDING' AND aggregateId = 'user-3'") == chosen);
  CHECK(outbox.count_status("DEAD_LETTER") == 600 - chosen);
  CHECK(outbox_command(outbox, {"retry", "--all-dead", "--reason", "no such reason"}).out ==
        "retried 0 of 0\n");
}

TEST_CASE("dead letters are purged when that is confirmed, and nothing else is", "[engines]") {
  Outbox outbox{engine_under_test()};
  outbox.add_many(300, 3);
  make_dead(outbox, "true");
  const auto live = outbox.add("live");
  const auto refused = outbox_command(outbox, {"purge", "--all-dead"}, "n\n");
  CHECK(refused.exit == exited(1));
  CHECK_THAT(refused.err, ContainsSubstring("Delete 300 dead letters of ") &&
                              ContainsSubstring("nothing was deleted: answer y, or give --yes"));
  CHECK(outbox.count_status("DEAD_LETTER") == 300);
  CHECK(outbox_command(outbox, {"purge", "--all-dead"}, "y\n").out == "purged 300 of 300\n");
  CHECK(outbox.column("SELECT id FROM outbox_event") == std::vector<std::string>{live});
}

TEST_CASE("dead letters are retried whatever type a driver has bound their ids as") {
  Outbox outbox;
  outbox.add_many(4, 1);
  make_dead(outbox, "true");
  outbox.execute(
      "UPDATE outbox_event SET id = x'0190a1b2c3d47e5f8091a2b3c4d5e6f7' WHERE rowid = 1; UPDATE outbox_event "
      "SET id = CAST('cuid' AS BLOB) WHERE rowid = 2; UPDATE outbox_event SET id = x'00ff' WHERE rowid = 3");
  CHECK(outbox_command(outbox, {"retry", "--all-dead"}).out == "retried 4 of 4\n");
  CHECK(outbox.count_status("PENDING") == 4);
}

TEST_CASE("SQLite's newest row is not purged: its place would be taken for one that was read") {
  Outbox outbox;
  const auto first = outbox.add("a"), newest = outbox.add("a");
  make_dead(outbox, "true");
  const auto purged = outbox_command(outbox, {"purge", first, newest, "--yes", "--json"});
  CHECK(purged.exit == exited(0));
  CHECK(nlohmann::json::parse(purged.out) == nlohmann::json{{"purged", 1}, {"left", 1}});
  CHECK_THAT(purged.err, ContainsSubstring("1 of them stay"));
  CHECK(outbox.column("SELECT id FROM outbox_event") == std::vector<std::string>{newest});
}

TEST_CASE("a retry or a purge that names nothing, or two things, is a wrong usage") {
  const Outbox outbox;
  for (const auto* verb : {"retry", "purge"}) {
    CHECK_THAT(outbox_command(outbox, {verb}).err, ContainsSubstring("give the ids of dead letters"));
    CHECK(outbox_command(outbox, {verb}).exit == exited(2));
    CHECK(outbox_command(outbox, {verb, "id", "--all-dead"}).exit == exited(2));
    CHECK(outbox_command(outbox, {verb, "id", "--reason", "x"}).exit == exited(2));
  }
}
