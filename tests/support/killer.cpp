#include "support/killer.hpp"

#include "support/wait.hpp"

#include <tidings/postgres_inbox.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <thread>

namespace tidings::test {
namespace {

int before_commit(void* killer) {
  if (static_cast<Killer*>(killer)->kills_before_commit()) std::raise(SIGKILL);
  return 0;
}

int after_commit(void* killer, sqlite3*, const char*, int) {
  if (static_cast<Killer*>(killer)->kills_after_commit()) std::raise(SIGKILL);
  return SQLITE_OK;
}

// A deferred trigger keeps the server in the middle of a commit until the killer lets it pass or has
// ended. They talk through sequences, which no transaction hides. The advisory lock is held as long as the
// killer's process lives: whoever gets it goes on, since the commit's own process is gone.
constexpr auto wait_at_commits = R"sql(
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
)sql";

}  // namespace

class KillerAtCommits::PostgresSession {
 public:
  PostgresSession(const std::string& location, Killer& killer) : killer_(killer), session_(location) {
    session_.connect();
    session_.exec("SELECT pg_advisory_lock(1)");
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
    // The server then goes on by itself: it commits, and nobody is left to be told.
    if (killer_.kills_after_commit()) std::raise(SIGKILL);
    session_.exec("SELECT setval('commit_passes', $1)", passed_);
  }

  Killer& killer_;
  PostgresConnection session_;
  std::int64_t passed_ = 0;
  std::jthread thread_;
};

KillerAtCommits::KillerAtCommits(TestInbox& inbox, const std::string& location, Killer& killer) {
  if (auto* const sqlite = inbox.sqlite()) {
    auto* const database = sqlite->database().getHandle();
    sqlite3_commit_hook(database, before_commit, &killer);
    sqlite3_wal_hook(database, after_commit, &killer);
    return;
  }
  inbox.exec(wait_at_commits);  // waits for the end of a commit that a killed process has left
  session_ = std::make_unique<PostgresSession>(location, killer);
}

KillerAtCommits::~KillerAtCommits() = default;

}  // namespace tidings::test
