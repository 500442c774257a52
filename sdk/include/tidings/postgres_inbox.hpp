#pragma once

// The inbox in PostgreSQL, beside the tables that handlers write: an event's id and its handler's writes are
// one commit, so each event takes effect once. Any number of hosts may share it. Link tidings::postgres.

#include <tidings/inbox_options.hpp>
#include <tidings/postgres_connection.hpp>
#include <tidings/postgres_transaction.hpp>

#include <memory>
#include <string>

namespace tidings {

class Inbox;

/// Serves one consumer. Not thread-safe. A lost connection is made again.
///
///     tidings::PostgresInbox inbox{"postgresql://mailer@db.example.org/welcome"};
///     inbox.database().exec("CREATE TABLE IF NOT EXISTS welcome_email(user_id text PRIMARY KEY)");
///     tidings::Consumer consumer{inbox, options};
class PostgresInbox {
 public:
  /// What handlers are given: statements on it are part of the event's transaction.
  using Transaction = PostgresTransaction;

  /// Connects and makes the inbox tables that are missing, in the schema that the login's search path names.
  /// Throws DatabaseError, and SettingError for a URL that is not PostgreSQL's or a prefix that is not
  /// allowed.
  explicit PostgresInbox(const std::string& url, const InboxOptions& options = {});
  ~PostgresInbox();

  /// For making the handlers' own tables before the consumer runs.
  [[nodiscard]] PostgresConnection& database() noexcept;

  // What Consumer runs on.
  [[nodiscard]] Inbox& tables() noexcept;
  [[nodiscard]] Transaction& transaction() noexcept;

 private:
  class Tables;
  std::unique_ptr<Tables> tables_;
};

}  // namespace tidings
