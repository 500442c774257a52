#pragma once

// Locks that others hold on an inbox or on what handlers write beside it, on both kinds of inboxes.

#include "inbox_place.hpp"
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

  PostgresDatabase session_;
};

/// What the error of somebody who waited for a lock says.
inline const std::string lock_error = "lock timeout";

/// An inbox in PostgreSQL never waits for longer than a second.
inline void be_impatient(TestInbox&) {}

/// Where handlers write on connections of their own.
class OtherDatabase {
 public:
  explicit OtherDatabase(const InboxPlace& place) : url_(place.location("other")), holder_(url_) {
    holder_.connect();
    holder_.exec("CREATE TABLE other(id integer)");
  }

  /// Does not wait for a lock.
  void write() const {
    PostgresDatabase own{url_};
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
  PostgresDatabase holder_;
};

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

inline void be_impatient(TestInbox& inbox) { inbox.database().setBusyTimeout(1); }

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

#endif

}  // namespace tidings::test
