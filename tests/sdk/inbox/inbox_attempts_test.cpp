// What an inbox keeps of attempts, also in tables that an older version has made and goes on using.

#include "inbox/inbox.hpp"
#include "support/catch.hpp"
#include "support/engine.hpp"
#include "support/postgres_server.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/test_inbox.hpp"

#include <tidings/postgres_connection.hpp>

#include <barrier>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace tidings;
using namespace tidings::test;
using Attempts = Inbox::Attempts;
using State = Attempts::State;

namespace {

constexpr const char* sqlite_tables = R"sql(
CREATE TABLE IF NOT EXISTS inbox_group (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS inbox (
    group_id INTEGER NOT NULL,
    event_id NOT NULL,
    handled_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, event_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox_attempt (
    group_id INTEGER NOT NULL,
    event_id NOT NULL,
    starts INTEGER NOT NULL,
    last_error TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (group_id, event_id)
) WITHOUT ROWID;
INSERT INTO inbox_group(id, name) VALUES (1, 'mailer');
)sql";

constexpr const char* postgres_tables = R"sql(
CREATE TABLE IF NOT EXISTS inbox_group (
    id serial PRIMARY KEY,
    name text NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS inbox (
    group_id integer NOT NULL,
    event_id bytea NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, event_id)
);
CREATE TABLE IF NOT EXISTS inbox_attempt (
    group_id integer NOT NULL,
    event_id bytea NOT NULL,
    starts integer NOT NULL,
    last_error text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (group_id, event_id)
);
INSERT INTO inbox_group(name) VALUES ('mailer');
)sql";

/// An inbox with the tables of the first version.
class OlderTables {
 public:
  OlderTables() {
    if (engine_under_test() == Engine::postgres)
      connected(server_.emplace())->script(postgres_tables);
    else
      sqlite::execute(file(), sqlite_tables);
  }

  [[nodiscard]] std::unique_ptr<TestInbox> open() const {
    auto inbox = std::make_unique<TestInbox>(server_ ? server_->url() : file());
    inbox->join("mailer");
    return inbox;
  }
  /// As a binary of the first version does it.
  void record(const std::string& id, int starts, const std::string& last_error) const {
    if (server_)
      connected(*server_)->exec(R"sql(
          INSERT INTO inbox_attempt(group_id, event_id, starts, last_error)
          VALUES (1, '\x00'::bytea || $1::text::bytea, $2, $3)
          ON CONFLICT (group_id, event_id) DO UPDATE
             SET starts = excluded.starts, last_error = excluded.last_error, updated_at = now())sql",
                                id, starts, last_error);
    else
      sqlite::execute(
          file(),
          "INSERT INTO inbox_attempt(group_id, event_id, starts, last_error, updated_at) VALUES (1, '" + id +
              "', " + std::to_string(starts) + ", '" + last_error +
              "', 1) ON CONFLICT DO UPDATE SET starts = excluded.starts, "
              "last_error = excluded.last_error, updated_at = excluded.updated_at");
  }
  [[nodiscard]] std::string last_error(const std::string& id) const {
    if (!server_)
      return sqlite::column(file(), "SELECT last_error FROM inbox_attempt WHERE event_id = '" + id + "'")
          .at(0);
    const auto rows = connected(*server_)->exec(
        "SELECT last_error FROM inbox_attempt WHERE event_id = '\\x00'::bytea || $1::text::bytea", id);
    return std::string{rows.text(0, 0)};
  }
  [[nodiscard]] std::int64_t version() const {
    const auto* const query = "SELECT version FROM inbox_schema";
    return server_ ? connected(*server_)->exec(query).integer(0, 0) : sqlite::number(file(), query);
  }

 private:
  [[nodiscard]] std::string file() const { return (folder_ / "inbox.db").string(); }
  static std::unique_ptr<PostgresConnection> connected(const PostgresServer& server) {
    auto database = std::make_unique<PostgresConnection>(server.url());
    database->connect();
    return database;
  }

  TempDir folder_;
  std::optional<PostgresServer> server_;
};

void record(Inbox& inbox, const std::string& id, const Attempts& attempts) {
  inbox.begin();
  inbox.record_attempts({id}, attempts);
  inbox.commit();
}

/// All that may be kept, each under an id that says what.
const std::vector<std::pair<std::string, Attempts>> every_kind{
    {"batch", {.starts = 0, .state = State::running_in_batch}},
    {"isolated", {.starts = 2, .state = State::running_isolated}},
    {"after-batch", {.starts = 1, .state = State::running_isolated_after_batch}},
    {"failed",
     {.starts = 1,
      .state = State::failed,
      .reason = "mail server down",
      .next_attempt = Timestamp{std::chrono::milliseconds{1'800'000'000'123}}}},
    {"dead",
     {.starts = 5,
      .state = State::dead_letter,
      .reason = "no such address",
      .message_stored_at = Timestamp{std::chrono::milliseconds{1'800'000'000'456}}}}};

}  // namespace

TEST_CASE("what the first version has kept of attempts is understood") {
  const OlderTables place;
  place.record("batch", 0, "the process ended while handling it and others");
  place.record("isolated", 2, "the process ended while handling it");
  place.record("after-batch", 1, "the process ended while handling it, after one in a batch");
  place.record("failed", 1, "mail server down");
  place.record("dead", 5, "for the dead letters: no such address");
  const auto inbox = place.open();
  for (auto [id, attempts] : every_kind) {
    INFO(id);
    attempts.next_attempt.reset();  // it kept none, nor the message
    attempts.message_stored_at.reset();
    CHECK(inbox->attempts(id) == attempts);
  }
  CHECK(place.version() == 4);
}

TEST_CASE("what is kept of attempts is read as it was written, also by the first version") {
  const OlderTables place;
  {
    const auto inbox = place.open();
    for (const auto& [id, attempts] : every_kind) record(inbox->tables(), id, attempts);
  }
  const auto inbox = place.open();
  for (const auto& [id, attempts] : every_kind) {
    INFO(id);
    CHECK(inbox->attempts(id) == attempts);
  }
  CHECK(place.last_error("batch") == "the process ended while handling it and others");
  CHECK(place.last_error("isolated") == "the process ended while handling it");
  CHECK(place.last_error("after-batch") == "the process ended while handling it, after one in a batch");
  CHECK(place.last_error("failed") == "mail server down");
  CHECK(place.last_error("dead") == "for the dead letters: no such address");
}

TEST_CASE("what a process of the first version writes beside ours counts") {
  const OlderTables place;
  const auto inbox = place.open();
  for (const auto& [id, attempts] : every_kind) record(inbox->tables(), id, attempts);
  for (const auto& [id, attempts] : every_kind) {
    INFO(id);
    place.record(id, 3, "later trouble");
    CHECK(inbox->attempts(id) == Attempts{.starts = 3, .state = State::failed, .reason = "later trouble"});
    place.record(id, 3, "the process ended while handling it and others");
    CHECK(inbox->attempts(id) == Attempts{.starts = 3, .state = State::running_in_batch});
  }
}

TEST_CASE("a handler's words are no record, to the first version neither") {
  const OlderTables place;
  const auto inbox = place.open();
  for (const std::string words :
       {"for the dead letters: x", "the process ended while handling it and others"}) {
    const Attempts failed{.starts = 1, .state = State::failed, .reason = words};
    record(inbox->tables(), "a", failed);
    CHECK(inbox->attempts("a") == failed);
    CHECK(place.last_error("a") == "failed: " + words);
  }
}

TEST_CASE("any number of processes may open an inbox of the first version at the same moment") {
  const OlderTables place;
  place.record("dead", 5, "for the dead letters: no such address");
  auto dead = every_kind[4].second;
  dead.message_stored_at.reset();
  constexpr int instances = 8;
  std::barrier start{instances};
  std::vector<std::string> errors(instances);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < instances; ++i)
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        try {
          const auto inbox = place.open();
          record(inbox->tables(), std::to_string(i), every_kind[3].second);
          if (inbox->attempts("dead") != dead) errors[i] = "misread";
        } catch (const std::exception& error) {
          errors[i] = error.what();
        }
      });
  }
  for (const auto& error : errors) CHECK(error.empty());
  CHECK(place.version() == 4);
  CHECK(place.open()->attempts("3") == every_kind[3].second);
}
