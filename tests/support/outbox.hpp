#pragma once

// An outbox of its own, in SQLite or PostgreSQL, and what tests ask of it.

#include "support/engine.hpp"
#include "support/jetstream.hpp"
#include "support/postgres_server.hpp"
#include "support/sqlite.hpp"
#include "support/temp_dir.hpp"

#include <tidings/domain_event.hpp>
#include <tidings/outbox_repository.hpp>
#include <tidings/postgres_connection.hpp>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tidings::test {

class Outbox {
 public:
  /// In a new file in a folder in `parent`.
  explicit Outbox(const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  /// PostgreSQL: on a server of its own.
  explicit Outbox(Engine engine);

  [[nodiscard]] Engine engine() const noexcept { return postgres_ ? Engine::postgres : Engine::sqlite; }
  [[nodiscard]] std::string path() const { return (folder_ / "auth.db").string(); }  ///< of SQLite's file
  [[nodiscard]] PostgresServer& server() { return *postgres_; }
  [[nodiscard]] std::string url() const;

  /// Commits one event, and returns its id.
  std::string add(const std::string& aggregate, const std::string& data = "{}",
                  const std::string& type = "user.created");
  /// `count` events of aggregates "<prefix>0" … in turn, in one commit.
  void add_many(int count, int aggregates, const std::string& prefix = "user-");

  // From outside. Names of columns need no quotes.

  void execute(const std::string& statements) const;
  /// The first column of all rows; NULL is empty.
  [[nodiscard]] std::vector<std::string> column(const std::string& query) const;
  [[nodiscard]] std::string text(const std::string& query) const;  ///< of the first row
  [[nodiscard]] std::int64_t number(const std::string& query) const;
  [[nodiscard]] std::int64_t count(const std::string& where) const {
    return number("SELECT count(*) FROM outbox_event WHERE " + where);
  }
  [[nodiscard]] std::int64_t count_status(const std::string& status) const {
    return count("status = '" + status + "'");
  }
  [[nodiscard]] std::string value(const std::string& id, const std::string& name) const {
    return text("SELECT coalesce(CAST(" + name + " AS TEXT), 'NULL') FROM outbox_event WHERE id = '" + id +
                "'");
  }

  /// The ids of all rows in the order in which they should go out.
  [[nodiscard]] std::vector<std::string> in_order() const;

  [[nodiscard]] Database& database() noexcept { return *database_; }
  [[nodiscard]] OutboxRepository& repository();

 private:
  [[nodiscard]] PostgresRows ask(const std::string& query) const;

  std::unique_ptr<PostgresServer> postgres_;
  TempDir folder_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<OutboxRepository> repository_;
};

/// As another program writes, with the columns that it must: for Outbox::execute().
[[nodiscard]] std::string insert(const std::string& id, const std::string& created_at = "now()");

/// As a service locks the row of what it changes; SQLite has one writer anyway. Several in their order.
void lock_aggregate(Transaction& transaction, const std::string& aggregate);

/// What is wrong when the stream is held against the table: lost events, and per aggregate those that
/// stand in the stream behind one that comes after them in the table. Empty when all is well.
[[nodiscard]] std::string ledger(const Outbox& outbox, const std::vector<StoredMessage>& stream);

}  // namespace tidings::test
