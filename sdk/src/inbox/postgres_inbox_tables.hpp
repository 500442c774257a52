#pragma once

// The inbox's tables in PostgreSQL, as the engine uses them.

#include "inbox/inbox.hpp"

#include <tidings/postgres_connection.hpp>
#include <tidings/postgres_transaction.hpp>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tidings {

/// Not thread-safe: it belongs to the one consumer that joined it. A connection that is lost is made again.
class PostgresInboxTables final : public Inbox {
 public:
  /// What handlers are given: statements on it are part of the event's transaction.
  using Transaction = PostgresTransaction;

  /// Connects and makes the inbox tables that are missing, in the schema that the login's search path names.
  /// Throws DatabaseError, and SettingError for a URL that is not PostgreSQL's.
  explicit PostgresInboxTables(const std::string& url);

  /// For making the handlers' own tables before the consumer runs.
  [[nodiscard]] PostgresConnection& database() noexcept { return database_; }
  [[nodiscard]] Transaction& transaction() noexcept { return transaction_; }

  void join(const std::string& group) override;
  void begin() override;
  void commit() override;
  void rollback() noexcept override;
  void savepoint() override;
  void release_savepoint() override;
  void rollback_to_savepoint() override;
  void require_sound() const override;
  [[nodiscard]] bool claims_ahead() const noexcept override { return true; }
  void claim_ahead(const std::vector<std::string>& event_ids) override;
  [[nodiscard]] bool claim(const std::string& event_id) override;
  [[nodiscard]] bool handled(const std::string& event_id) override;
  [[nodiscard]] std::optional<Attempts> attempts(const std::string& event_id) override;
  void record_attempts(const std::string& event_id, const Attempts& attempts) override;
  void forget_attempts(const std::string& event_id) override;
  bool prune(std::chrono::hours age, int limit) override;
  [[nodiscard]] bool is_transient(const std::exception& error) const noexcept override;
  [[nodiscard]] bool is_transient_in_handler(const std::exception& error) const noexcept override;

 private:
  void connect();
  void require_nothing_queued_failed() const;
  void require_own_transaction() const;
  void take_claims_back();

  // An id that claim_ahead() was called for.
  struct Ahead {
    enum class State { there_before, written, taken } state = State::there_before;
    std::string place;  // the row's ctid
  };

  PostgresConnection database_;
  PostgresTransaction transaction_{database_};
  std::string group_;  // its id in the database
  std::unordered_map<std::string, Ahead> ahead_;
  std::string claimed_;                           // the id whose handler runs
  std::vector<std::string> claims_to_take_back_;  // keys of rows that a handler has committed too early
  std::string prune_position_ = "\\x";
};

}  // namespace tidings
