#pragma once

// The inboxes of a test, in SQLite files or in a PostgreSQL of the test's own: engine_under_test() decides.

#include "inbox/inbox.hpp"
#include "support/postgres_server.hpp"
#include "support/temp_dir.hpp"

#include <tidings/inbox_options.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings {
class PostgresInbox;
class SqliteInbox;
}  // namespace tidings

namespace tidings::test {

class TestInbox;

/// What handlers are given. Its writes are part of the event's transaction.
class Tx {
 public:
  explicit Tx(TestInbox& inbox) : inbox_(inbox) {}
  void write_effect(const std::string& id);

 private:
  TestInbox& inbox_;
};

/// An SqliteInbox or a PostgresInbox.
class TestInbox {
 public:
  using Transaction = Tx;

  explicit TestInbox(const std::string& location,
                     const InboxOptions& options = {});  ///< as InboxPlace gives it
  ~TestInbox();
  TestInbox(const TestInbox&) = delete;
  TestInbox& operator=(const TestInbox&) = delete;

  [[nodiscard]] Inbox& tables() noexcept;
  [[nodiscard]] Tx& transaction() noexcept { return transaction_; }

  void join(const std::string& group) { tables().join(group); }
  [[nodiscard]] auto attempts(const std::string& id) { return tables().attempts({id}); }
  [[nodiscard]] bool handled(const std::string& id) { return tables().handled({id}); }

  void make_effects();  ///< the table that write_effect() writes to
  void exec(const std::string& statements);

  // One of them.
  [[nodiscard]] SqliteInbox* sqlite() noexcept { return sqlite_.get(); }
  [[nodiscard]] PostgresInbox* postgres() noexcept { return postgres_.get(); }

 private:
  std::unique_ptr<SqliteInbox> sqlite_;
  std::unique_ptr<PostgresInbox> postgres_;
  Tx transaction_{*this};
};

/// Where inboxes are: a folder or a server.
class InboxPlace {
 public:
  explicit InboxPlace(const TempDir& folder);

  /// What a TestInbox is made with. Inboxes with different names know nothing of each other.
  [[nodiscard]] std::string location(const std::string& name) const;

  // Of the inbox that is called inbox.
  [[nodiscard]] std::vector<std::string> effects() const;
  [[nodiscard]] std::vector<std::string> rows() const;
  [[nodiscard]] std::int64_t count(const std::string& table, const std::string& inbox = "inbox") const;
  void let_all_be_handled_long_ago() const;
  /// No session is open, so nothing is committed any more: a PostgreSQL goes on for a moment after its client
  /// is killed.
  [[nodiscard]] bool no_sessions() const;

 private:
  const TempDir& folder_;
  std::optional<PostgresServer> server_;
};

}  // namespace tidings::test
