#pragma once

// How the processor reads what is PENDING from PostgreSQL: the statements for SnapshotScans.

#include "infrastructure/postgres/postgres_database.hpp"
#include "infrastructure/postgres/snapshot_scans.hpp"

#include <tidings/outbox_event.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidings {

/// For one server: once it is connected to again, has been started again, or another one has taken its place
/// behind a pooler, reading throws, and all is to be begun anew. Not thread-safe. Throws SqlError.
class SnapshotReader {
 public:
  explicit SnapshotReader(PostgresDatabase& database) : database_(database), session_(database.session()) {}

  /// See SnapshotScans. read() is not for use within a transaction, where PostgreSQL tells the next
  /// transaction id only once.
  void start_over() { scans_.start_over(); }
  void read(int limit, std::vector<OutboxEvent>& out);
  void was_given(const std::string& id, std::uint32_t transaction) { scans_.was_given(id, transaction); }

 private:
  [[nodiscard]] ScanPage read_page(const ScanQuery& query);
  void require_same_server(std::string_view started, TransactionId next_id);

  PostgresDatabase& database_;
  const int session_;
  std::string server_started_;  // empty until the first page
  TransactionId next_id_ = 0;
  SnapshotScans scans_;
};

}  // namespace tidings
