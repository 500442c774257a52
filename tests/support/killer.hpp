#pragma once

// For consumers that run in a process of their own, to be killed between two of their steps.

#include "support/test_inbox.hpp"
#include "support/wait.hpp"

#include <atomic>
#include <csignal>
#include <string>
#include <thread>

#ifndef TIDINGS_TEST_ON_POSTGRES
#include <sqlite3.h>
#endif

namespace tidings::test {

/// Kills this process when a step is done the `nth` time.
struct Killer {
  std::string place;
  int nth = 1;
  std::atomic<int> times{0};
  // Of the message at hand.
  std::atomic<bool> effect{false}, rejected{false}, buried{false};

  [[nodiscard]] bool kills_at(const std::string& step) { return step == place && ++times == nth; }
  void pass(const std::string& step) {
    if (kills_at(step)) std::raise(SIGKILL);
  }
  [[nodiscard]] bool kills_before_commit() {
    if (buried.exchange(false)) return kills_at("before the count is forgotten");
    return effect && kills_at("before the commit");
  }
  [[nodiscard]] bool kills_after_commit() {
    return (effect.exchange(false) && kills_at("after the commit")) ||
           (rejected.exchange(false) && kills_at("before the copy"));
  }
};

#ifdef TIDINGS_TEST_ON_POSTGRES

/// Lets the killer in on each commit of an effect or a count: a deferred trigger has the server stay in the
/// middle of it until this lets it pass or has ended. What it says is in sequences, which no transaction
/// hides.
class KillerAtCommits {
 public:
  KillerAtCommits(auto& inbox, const std::string& location, Killer& killer)
      : killer_(killer), session_(location) {
    // Waits for the end of a commit that a killed process has left.
    inbox.database().script(R"sql(
CREATE SEQUENCE IF NOT EXISTS commit_waits;
CREATE SEQUENCE IF NOT EXISTS commit_passes;
CREATE OR REPLACE FUNCTION wait_for_killer() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE own bigint := pg_current_xact_id()::text;
BEGIN
  PERFORM setval('commit_waits', own);
  WHILE (SELECT last_value FROM commit_passes) <> own AND NOT pg_try_advisory_xact_lock_shared(1) LOOP
    PERFORM pg_sleep(0.001);
  END LOOP;
  RETURN NULL;
END$$;
DROP TRIGGER IF EXISTS killer ON effect;
CREATE CONSTRAINT TRIGGER killer AFTER INSERT ON effect
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_killer();
DROP TRIGGER IF EXISTS killer ON inbox_attempt;
CREATE CONSTRAINT TRIGGER killer AFTER INSERT OR UPDATE OR DELETE ON inbox_attempt
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_killer();
)sql");
    session_.connect();
    session_.exec("SELECT pg_advisory_lock(1)");  // as long as this process lives
    passed_ = waiting();
    thread_ = std::jthread([this](const std::stop_token& stop) {
      while (!stop.stop_requested())
        if (eventually(100ms, [this] { return waiting() != passed_; })) pass();
    });
  }

 private:
  /// The last transaction that came to its commit.
  std::int64_t waiting() { return session_.exec("SELECT last_value FROM commit_waits").integer(0, 0); }
  void pass() {
    passed_ = waiting();
    if (killer_.kills_before_commit()) {
      session_.exec(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = $1::text::xid",
          passed_);
      std::raise(SIGKILL);
    }
    // The server goes on by itself then: it commits, and there is nobody to tell.
    if (killer_.kills_after_commit()) std::raise(SIGKILL);
    session_.exec("SELECT setval('commit_passes', $1)", passed_);
  }

  Killer& killer_;
  PostgresConnection session_;
  std::int64_t passed_ = 0;
  std::jthread thread_;
};

#else

/// Lets the killer in on each commit.
class KillerAtCommits {
 public:
  KillerAtCommits(auto& inbox, const std::string&, Killer& killer) {
    auto* const database = inbox.database().getHandle();
    sqlite3_commit_hook(database, before_commit, &killer);
    sqlite3_wal_hook(database, after_commit, &killer);
  }

 private:
  static int before_commit(void* killer) {
    if (static_cast<Killer*>(killer)->kills_before_commit()) std::raise(SIGKILL);
    return 0;
  }
  static int after_commit(void* killer, sqlite3*, const char*, int) {
    if (static_cast<Killer*>(killer)->kills_after_commit()) std::raise(SIGKILL);
    return SQLITE_OK;
  }
};

#endif

}  // namespace tidings::test
