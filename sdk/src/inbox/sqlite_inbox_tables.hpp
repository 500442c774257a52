#pragma once

// The inbox's tables in a SQLite file, as the engine uses them.

#include "inbox/inbox.hpp"

#include <SQLiteCpp/Database.h>

#include <memory>
#include <optional>
#include <string>

namespace tidings {

/// Not thread-safe: it belongs to the one consumer that joined it.
class SqliteInboxTables final : public Inbox {
 public:
  /// What handlers are given: statements on it are part of the event's transaction.
  using Transaction = SQLite::Database;

  /// Opens or makes the file (WAL, synchronous=FULL) and the inbox tables. `url` is a path,
  /// `sqlite:PATH` or `file:PATH`. Throws DatabaseError naming the path.
  explicit SqliteInboxTables(const std::string& url);
  ~SqliteInboxTables() override;

  /// For making the handlers' own tables before the consumer runs.
  [[nodiscard]] SQLite::Database& database() noexcept;
  [[nodiscard]] Transaction& transaction() noexcept { return database(); }

  void join(const std::string& group) override;
  void begin() override;
  void commit() override;
  void rollback() noexcept override;
  void savepoint() override;
  void release_savepoint() override;
  void rollback_to_savepoint() override;
  [[nodiscard]] bool claim(const std::string& event_id) override;
  [[nodiscard]] bool handled(const std::string& event_id) override;
  [[nodiscard]] std::optional<Attempts> attempts(const std::string& event_id) override;
  void record_attempts(const std::string& event_id, const Attempts& attempts) override;
  void forget_attempts(const std::string& event_id) override;
  bool prune(std::chrono::hours age, int limit) override;
  [[nodiscard]] bool is_transient(const std::exception& error) const noexcept override;

 private:
  struct Statements;
  std::unique_ptr<SQLite::Database> database_;
  std::unique_ptr<Statements> statements_;
};

}  // namespace tidings
