#include "support/inbox_faults.hpp"

#include "support/engine.hpp"
#include "support/sqlite.hpp"
#include "support/wait.hpp"

#include <tidings/postgres_inbox.hpp>
#include <tidings/sqlite_inbox.hpp>

#include <SQLiteCpp/SQLiteCpp.h>

#include <mutex>
#include <optional>
#include <stdexcept>

namespace tidings::test {
namespace {

bool on_postgres() { return engine_under_test() == Engine::postgres; }

bool lock_inbox(PostgresConnection& session) {
  try {
    session.exec("BEGIN");
    session.exec("LOCK TABLE inbox, inbox_attempt IN EXCLUSIVE MODE NOWAIT");
    return true;
  } catch (const PostgresError& error) {
    session.rollback();
    if (error.sqlstate() != "55P03") throw;
    return false;
  }
}

}  // namespace

struct InboxLock::Session {
  std::optional<PostgresConnection> postgres{};
  std::optional<SQLite::Database> sqlite{};
};

InboxLock::InboxLock(const InboxPlace& place) : session_(std::make_unique<Session>()) {
  if (on_postgres()) {
    auto& session = session_->postgres.emplace(place.location("inbox"));
    session.connect();
    // Without waiting for one table while it holds the other: the consumer may do the same.
    if (!eventually(10s, [&] { return lock_inbox(session); }))
      throw std::runtime_error("the inbox is never free");
    return;
  }
  auto& session = session_->sqlite.emplace(place.location("inbox"), SQLite::OPEN_READWRITE);
  session.setBusyTimeout(10000);  // the consumer may just be writing
  session.exec("BEGIN IMMEDIATE");
}

InboxLock::~InboxLock() = default;

std::string lock_error() { return on_postgres() ? "lock timeout" : "locked"; }

void be_impatient(TestInbox& inbox) {
  if (auto* const sqlite = inbox.sqlite())
    sqlite->database().setBusyTimeout(1);
  else
    inbox.postgres()->database().exec("SET lock_timeout = '1s'");
}

void wait_for_nothing(TestInbox& inbox) {
  if (inbox.sqlite() != nullptr)
    be_impatient(inbox);
  else
    inbox.postgres()->database().exec("SET statement_timeout = '100ms'");
}

struct OtherDatabase::Session {
  std::mutex mutex{};
  std::optional<PostgresConnection> postgres{};
  std::optional<SQLite::Database> sqlite{};
};

OtherDatabase::OtherDatabase(const InboxPlace& place)
    : location_(place.location("other")), session_(std::make_unique<Session>()) {
  if (on_postgres()) {
    auto& session = session_->postgres.emplace(location_);
    session.connect();
    session.exec("CREATE TABLE other(id integer)");
    return;
  }
  sqlite::execute(location_, "CREATE TABLE other(id)");
  auto& session = session_->sqlite.emplace(location_, SQLite::OPEN_READWRITE);
  session.setBusyTimeout(10000);  // a handler that looks at the file can be in the way of the commit
}

OtherDatabase::~OtherDatabase() = default;

void OtherDatabase::write() const {
  if (!on_postgres()) {
    SQLite::Database{location_, SQLite::OPEN_READWRITE}.exec("INSERT INTO other VALUES (1)");
    return;
  }
  PostgresConnection own{location_};
  own.connect();
  own.exec("SET lock_timeout = 1");
  own.exec("INSERT INTO other VALUES (1)");
}

void OtherDatabase::lock() {
  const std::lock_guard guard{session_->mutex};
  if (session_->sqlite) {
    session_->sqlite->exec("BEGIN IMMEDIATE");
    return;
  }
  session_->postgres->exec("BEGIN");
  session_->postgres->exec("LOCK TABLE other");
}

void OtherDatabase::unlock() {
  const std::lock_guard guard{session_->mutex};
  if (session_->sqlite)
    session_->sqlite->exec("COMMIT");
  else
    session_->postgres->exec("COMMIT");
}

void make_full(TestInbox& inbox) {
  if (inbox.sqlite() != nullptr) {
    inbox.exec("PRAGMA max_page_count = 1");  // no less than there are: full from now on
    return;
  }
  inbox.exec(R"sql(
CREATE FUNCTION be_full() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE disk_full; END$$;
CREATE FUNCTION starts() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM inbox_attempt';
CREATE TRIGGER full_disk BEFORE INSERT ON inbox_attempt
    FOR EACH ROW WHEN (starts() = 5) EXECUTE FUNCTION be_full();
)sql");
}

void make_room(TestInbox& inbox) {
  inbox.exec(inbox.sqlite() != nullptr ? "PRAGMA max_page_count = 1000000"
                                       : "DROP TRIGGER full_disk ON inbox_attempt");
}

void refuse_b(TestInbox& inbox) {
  if (inbox.sqlite() != nullptr) {
    inbox.exec(R"sql(
CREATE TRIGGER no_b BEFORE INSERT ON inbox_attempt WHEN NEW.event_id = 'b'
BEGIN SELECT RAISE(ABORT, 'no b'); END
)sql");
    return;
  }
  inbox.exec(R"sql(
CREATE FUNCTION refuse_b() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE 'no b'; END$$;
CREATE TRIGGER no_b BEFORE INSERT ON inbox_attempt
    FOR EACH ROW WHEN (NEW.event_id = '\x0062') EXECUTE FUNCTION refuse_b();
)sql");
}

void take_b(TestInbox& inbox) {
  inbox.exec(inbox.sqlite() != nullptr ? "DROP TRIGGER no_b" : "DROP TRIGGER no_b ON inbox_attempt");
}

}  // namespace tidings::test
