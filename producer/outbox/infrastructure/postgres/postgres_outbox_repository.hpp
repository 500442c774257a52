#pragma once

#include "infrastructure/postgres/postgres_database.hpp"
#include "infrastructure/postgres/snapshot_reader.hpp"

#include <tidings/outbox_repository.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

class PostgresOutboxRepository final : public OutboxRepository {
 public:
  explicit PostgresOutboxRepository(PostgresDatabase& database);

  /// createdAt is the server's clock at the insert, not at the begin of the transaction, and never before
  /// that of the aggregate's rows that this transaction sees: writers that a row lock puts in order stay in
  /// order.
  void add(Transaction& transaction, const DomainEvent& event) override;
  bool rewind() override;
  void read_pending(int limit, std::vector<OutboxEvent>& out) override;
  [[nodiscard]] std::vector<OutboxEvent> read_aggregate(const AggregateRows& rows, int limit) override;
  [[nodiscard]] int rows_of_aggregate_at_once() const noexcept override { return 1024; }
  [[nodiscard]] std::vector<OutboxEvent> read_retries(const OutboxPosition& after, int limit) override;
  [[nodiscard]] std::int64_t count_pending() override;
  [[nodiscard]] std::optional<Timestamp> oldest_pending() override;
  [[nodiscard]] Cleanup cleanup(Transaction& transaction, Timestamp before, int limit) override;
  [[nodiscard]] std::vector<OutboxRow> list(std::optional<RowStatus> status, int limit) override;
  [[nodiscard]] std::optional<OutboxRow> find(const std::string& id) override;
  [[nodiscard]] OutboxStats stats(int blocked_at_most) override;

 private:
  PostgresDatabase& database_;
  SnapshotReader scans_;
  OutboxPosition cleaned_;  // the row that cleanup() examined last
};

}  // namespace tidings
