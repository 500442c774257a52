#pragma once

// Verbs for tests of what every inbox does, whichever database it is in.

#include "inbox/inbox.hpp"
#include "support/catch.hpp"
#include "support/engine.hpp"
#include "support/postgres_server.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"
#include "support/test_inbox.hpp"

#include <tidings/postgres_connection.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace tidings::test {

inline const std::string uuid = "0190d5a2-7c3e-7b1f-8a6d-3f2e1d0c9b8a";

/// Where a new inbox is, and looks into it from outside.
class InboxFromOutside {
 public:
  InboxFromOutside() {
    if (engine_under_test() == Engine::postgres) server_.emplace();
  }

  [[nodiscard]] std::string location() const {
    return server_ ? server_->url() : (folder_ / "inbox.db").string();
  }
  [[nodiscard]] std::int64_t number(const std::string& query) const {
    return server_ ? look(query).integer(0, 0) : sqlite::number(location(), query);
  }
  void let_handled_long_ago(const std::string& ids) const {
    if (server_)
      look("UPDATE inbox SET handled_at = '2001-01-01' WHERE convert_from(substr(event_id, 2), 'UTF8') IN (" +
           ids + ")");
    else
      sqlite::execute(location(),
                      "UPDATE inbox SET handled_at = 1000 WHERE CAST(event_id AS TEXT) IN (" + ids + ")");
  }
  void let_attempted_long_ago(const std::string& id) const {
    if (server_)
      look("UPDATE inbox_attempt SET updated_at = '2001-01-01' WHERE event_id = '\\x00'::bytea || '" + id +
           "'::bytea");
    else
      sqlite::execute(location(), "UPDATE inbox_attempt SET updated_at = 1000 WHERE event_id = '" + id + "'");
  }
  /// As a binary of an earlier version claims; false when it finds the event handled.
  [[nodiscard]] bool claim_as_before(const std::string& id) const {
    if (server_)
      return look("INSERT INTO inbox(group_id, event_id) VALUES (1, '\\x00'::bytea || '" + id +
                  "'::bytea) ON CONFLICT DO NOTHING")
                 .affected() == 1;
    const auto before = number("SELECT count(*) FROM inbox");
    sqlite::execute(location(), "INSERT INTO inbox(group_id, event_id, handled_at) VALUES (1, '" + id +
                                    "', unixepoch() * 1000) ON CONFLICT DO NOTHING");
    return number("SELECT count(*) FROM inbox") > before;
  }
  /// As such a binary writes down that the event has failed.
  void fail_as_before(const std::string& id, int starts) const {
    if (server_)
      look(
          "INSERT INTO inbox_attempt(group_id, event_id, starts, last_error) VALUES (1, '\\x00'::bytea || '" +
          id + "'::bytea, " + std::to_string(starts) +
          ", 'no') ON CONFLICT (group_id, event_id) DO UPDATE SET starts = excluded.starts, updated_at = now()");
    else
      sqlite::execute(
          location(),
          "INSERT INTO inbox_attempt(group_id, event_id, starts, last_error, updated_at) VALUES (1, '" + id +
              "', " + std::to_string(starts) +
              ", 'no', unixepoch() * 1000 + 999) ON CONFLICT DO UPDATE SET starts = excluded.starts");
  }
  /// Everything that the inbox knows, of one group or of all, what it has seen of time included.
  void let_all_have_been_days_ago(int days, const std::string& group = {}) const {
    const auto by = std::to_string(days);
    const auto of_group = "(SELECT id FROM inbox_group WHERE name = '" + group + "' OR '' = '" + group + "')";
    for (const auto& [table, column, key] : {std::tuple{"inbox", "handled_at", "group_id"},
                                             {"inbox_attempt", "updated_at", "group_id"},
                                             {"inbox_group", "seen_at", "id"}}) {
      const auto change = std::string{"UPDATE "} + table + " SET " + column + " = " + column + " - ";
      const auto rows = std::string{" WHERE "} + key + " IN " + of_group;
      if (server_)
        look(change + "interval '" + by + " days'" + rows);
      else
        sqlite::execute(location(), change + by + " * 86400000" + rows);
    }
  }
  [[nodiscard]] std::int64_t rows_of(const std::string& group, const std::string& table = "inbox") const {
    return number("SELECT count(*) FROM " + table +
                  " WHERE group_id = (SELECT id FROM inbox_group WHERE name = '" + group + "')");
  }
  /// As consumers of an older version leave it.
  void forget_when_seen(const std::string& group) const {
    const auto change = "UPDATE inbox_group SET seen_at = NULL WHERE name = '" + group + "'";
    if (server_)
      look(change);
    else
      sqlite::execute(location(), change);
  }

 private:
  PostgresRows look(const std::string& statement) const {
    PostgresConnection database{server_->url()};
    database.connect();
    return database.exec(statement);
  }

  TempDir folder_;
  std::optional<PostgresServer> server_;
};

/// An instance's inbox, which has joined a group.
struct Joined {
  explicit Joined(const InboxFromOutside& place, const std::string& group = "mailer",
                  const InboxOptions& options = {})
      : inbox(place.location(), options) {
    inbox.join(group);
  }
  Inbox* operator->() { return &inbox.tables(); }
  Inbox& operator*() { return inbox.tables(); }

  TestInbox inbox;
};

inline bool claim(Inbox& inbox, const EventIdentity& event) {
  inbox.begin();
  const bool first = inbox.claim(event);
  inbox.commit();
  return first;
}
inline bool claim(Inbox& inbox, const std::string& id) { return claim(inbox, EventIdentity{id}); }

/// As a batch does it: which of them were claimed.
inline std::vector<bool> claim_together(Inbox& inbox, const std::vector<EventIdentity>& events) {
  inbox.begin();
  if (inbox.claims_ahead()) inbox.claim_ahead(events);
  std::vector<bool> claimed;
  for (const auto& event : events) {
    inbox.savepoint();
    claimed.push_back(inbox.claim(event));
    inbox.release_savepoint();
  }
  inbox.commit();
  return claimed;
}

inline const EventIdentity shop_seven{"7", "/shop"}, billing_seven{"7", "/billing"}, nobodys_seven{"7"};

inline void record(Inbox& inbox, const EventIdentity& event, const Inbox::Attempts& attempts) {
  inbox.begin();
  inbox.record_attempts(event, attempts);
  inbox.commit();
}
inline void record(Inbox& inbox, const std::string& id, const Inbox::Attempts& attempts) {
  record(inbox, EventIdentity{id}, attempts);
}

inline constexpr std::chrono::hours month{24 * 30};
inline constexpr int days_until_gone = 30 + 90;

inline bool prune(Inbox& inbox, std::chrono::hours age, int limit) {
  inbox.begin();
  const bool round_done = inbox.prune(age, limit);
  inbox.commit();
  return round_done;
}

/// What an instance of the group leaves behind after it has run.
inline void run_for_a_while(const InboxFromOutside& place, const std::string& group, int events = 1) {
  Joined inbox{place, group};
  CHECK(prune(*inbox, month, 100));
  for (int i = 0; i < events; ++i) CHECK(claim(*inbox, "event-" + std::to_string(i)));
  record(*inbox, "failing", {.starts = 2, .reason = "x"});
}

}  // namespace tidings::test
