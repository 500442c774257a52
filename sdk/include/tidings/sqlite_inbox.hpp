#pragma once

// The inbox in a SQLite file, beside the tables that handlers write: an event's id and its handler's writes
// are one commit, so each event takes effect once. Several processes of one host may share the file.

#include <tidings/inbox_options.hpp>

#include <SQLiteCpp/Database.h>

#include <memory>
#include <string>

namespace tidings {

class Inbox;

/// Serves one consumer. Not thread-safe.
///
///     tidings::SqliteInbox inbox{"welcome.db"};
///     inbox.database().exec("CREATE TABLE IF NOT EXISTS welcome_email(user_id TEXT PRIMARY KEY)");
///     tidings::Consumer consumer{inbox, options};
class SqliteInbox {
 public:
  /// What handlers are given: statements on it are part of the event's transaction, which only the inbox
  /// ends: COMMIT and ROLLBACK (other than to a savepoint) are refused. A statement that a handler has
  /// stepped and not reset is reset after it.
  using Transaction = SQLite::Database;

  /// Opens or makes the file (WAL, synchronous=FULL) and the inbox tables. `url` is a path, `sqlite:PATH` or
  /// `file:PATH`. Throws DatabaseError naming the path, and SettingError for another kind of URL or a prefix
  /// that is not allowed.
  explicit SqliteInbox(const std::string& url, const InboxOptions& options = {});
  ~SqliteInbox();

  /// For making the handlers' own tables before the consumer runs.
  [[nodiscard]] SQLite::Database& database() noexcept;

  // What Consumer runs on.
  [[nodiscard]] Inbox& tables() noexcept;
  [[nodiscard]] Transaction& transaction() noexcept { return database(); }

 private:
  class Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace tidings
