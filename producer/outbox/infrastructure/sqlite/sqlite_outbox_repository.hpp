#pragma once

#include "infrastructure/sqlite/sqlite_database.hpp"

#include <tidings/outbox_repository.hpp>

#include <cstdint>
#include <memory>

namespace tidings {

/// Positions grow in commit order, as SQLite gives out max(rowid)+1. Neither outcomes nor cleanup delete the
/// newest row, whose position would otherwise be given out a second time.
class SqliteOutboxRepository final : public OutboxRepository {
 public:
  explicit SqliteOutboxRepository(SqliteDatabase& database);
  ~SqliteOutboxRepository() override;

  void add(Transaction& transaction, const DomainEvent& event) override;
  bool rewind() override;
  /// Its cost grows with the rows in between, whatever their status.
  void read_pending(int limit, std::vector<OutboxEvent>& out) override;
  [[nodiscard]] std::vector<OutboxEvent> read_aggregate(const AggregateRows& rows, int limit) override;
  [[nodiscard]] std::vector<OutboxEvent> read_retries(const OutboxPosition& after, int limit) override;
  [[nodiscard]] std::int64_t count_pending() override;
  [[nodiscard]] std::optional<Timestamp> oldest_pending() override;
  [[nodiscard]] Cleanup cleanup(Transaction& transaction, Timestamp before, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list(std::optional<RowStatus> status, int limit) override;
  [[nodiscard]] std::optional<OutboxRow> find(const std::string& id) override;
  [[nodiscard]] OutboxStats stats(int blocked_at_most) override;

 private:
  struct Statements;

  SqliteDatabase& database_;
  std::unique_ptr<Statements> statements_;
  std::int64_t cursor_ = 0;  // position of the row that read_pending() gave last
};

}  // namespace tidings
