#pragma once

// Trouble of an inbox, of both kinds: locks that others hold on it or on what handlers write beside it, a
// full disk, rows that it does not take.

#include "support/test_inbox.hpp"
#include "support/wait.hpp"

#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>

namespace tidings::test {

#ifdef TIDINGS_TEST_ON_POSTGRES

/// Another session that lets nobody write into the inbox that is called inbox, while this lives.
class InboxLock {
 public:
  explicit InboxLock(const InboxPlace& place) : session_(place.location("inbox")) {
    session_.connect();
    // Not waiting for one table while it holds the other: the consumer may do so as well.
    if (!eventually(10s, [this] { return locked(); })) throw std::runtime_error("the inbox is never free");
  }

 private:
  bool locked() {
    try {
      session_.exec("BEGIN");
      session_.exec("LOCK TABLE inbox, inbox_attempt IN EXCLUSIVE MODE NOWAIT");
      return true;
    } catch (const PostgresError& error) {
      session_.rollback();
      if (error.sqlstate() != "55P03") throw;
      return false;
    }
  }

  PostgresConnection session_;
};

/// What the error of somebody who waited for a lock says.
inline const std::string lock_error = "lock timeout";

/// Waits for locks for a second, and not for five.
void be_impatient(auto& inbox) { inbox.database().exec("SET lock_timeout = '1s'"); }
/// Not even that long.
void wait_for_nothing(auto& inbox) { inbox.database().exec("SET statement_timeout = '100ms'"); }

/// Where handlers write on connections of their own.
class OtherDatabase {
 public:
  explicit OtherDatabase(const InboxPlace& place) : url_(place.location("other")), holder_(url_) {
    holder_.connect();
    holder_.exec("CREATE TABLE other(id integer)");
  }

  /// Does not wait for a lock.
  void write() const {
    PostgresConnection own{url_};
    own.connect();
    own.exec("SET lock_timeout = 1");
    own.exec("INSERT INTO other VALUES (1)");
  }
  // Of any thread.
  void lock() {
    const std::lock_guard guard{mutex_};
    holder_.exec("BEGIN");
    holder_.exec("LOCK TABLE other");
  }
  void unlock() {
    const std::lock_guard guard{mutex_};
    holder_.exec("COMMIT");
  }

 private:
  std::string url_;
  std::mutex mutex_;
  PostgresConnection holder_;
};

/// No start can be written down beyond the fifth: the disk is full.
void make_full(auto& inbox) {
  inbox.database().script(R"sql(
CREATE FUNCTION be_full() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE disk_full; END$$;
CREATE FUNCTION starts() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM inbox_attempt';
CREATE TRIGGER full_disk BEFORE INSERT ON inbox_attempt
    FOR EACH ROW WHEN (starts() = 5) EXECUTE FUNCTION be_full();
)sql");
}
void make_room(auto& inbox) { inbox.database().exec("DROP TRIGGER full_disk ON inbox_attempt"); }

/// No start of the event b can be written down.
void refuse_b(auto& inbox) {
  inbox.database().script(R"sql(
CREATE FUNCTION refuse_b() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE 'no b'; END$$;
CREATE TRIGGER no_b BEFORE INSERT ON inbox_attempt
    FOR EACH ROW WHEN (NEW.event_id = '\x0062') EXECUTE FUNCTION refuse_b();
)sql");
}
void take_b(auto& inbox) { inbox.database().exec("DROP TRIGGER no_b ON inbox_attempt"); }

#else

class InboxLock {
 public:
  explicit InboxLock(const InboxPlace& place) : file_(place.location("inbox"), SQLite::OPEN_READWRITE) {
    file_.setBusyTimeout(10000);  // the consumer may just be writing
    file_.exec("BEGIN IMMEDIATE");
  }

 private:
  SQLite::Database file_;
};

inline const std::string lock_error = "locked";

void be_impatient(auto& inbox) { inbox.database().setBusyTimeout(1); }
void wait_for_nothing(auto& inbox) { be_impatient(inbox); }

class OtherDatabase {
 public:
  explicit OtherDatabase(const InboxPlace& place) : path_(place.location("other")) {
    sqlite::execute(path_, "CREATE TABLE other(id)");
    holder_.emplace(path_, SQLite::OPEN_READWRITE);
    holder_->setBusyTimeout(10000);  // a handler that looks at the file can be in the way of the commit
  }

  void write() const { SQLite::Database{path_, SQLite::OPEN_READWRITE}.exec("INSERT INTO other VALUES (1)"); }
  void lock() { holder_->exec("BEGIN IMMEDIATE"); }
  void unlock() { holder_->exec("COMMIT"); }

 private:
  std::string path_;
  std::optional<SQLite::Database> holder_;
};

/// For what needs more pages.
void make_full(auto& inbox) {
  inbox.database().exec("PRAGMA max_page_count = 1");  // no less than there are: full from now on
}
void make_room(auto& inbox) { inbox.database().exec("PRAGMA max_page_count = 1000000"); }

/// No start of the event b can be written down.
void refuse_b(auto& inbox) {
  inbox.database().exec(
      "CREATE TRIGGER no_b BEFORE INSERT ON inbox_attempt WHEN NEW.event_id = 'b' "
      "BEGIN SELECT RAISE(ABORT, 'no b'); END");
}
void take_b(auto& inbox) { inbox.database().exec("DROP TRIGGER no_b"); }

#endif

}  // namespace tidings::test
