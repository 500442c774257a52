#pragma once

// Which rows of the outbox to ask PostgreSQL for next, and which of those that it has are new. A transaction
// can commit long after its rows were written, so no column tells commit order. The relay reads in scans:
// each gives the rows that the scan before could not see, by the ids of their transactions, in the order of
// (createdAt, id). See docs/decisions/0007.

#include "infrastructure/postgres/created_at_bounds.hpp"
#include "infrastructure/postgres/transaction_ties.hpp"

#include <tidings/outbox_event.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace tidings {

/// Asks one statement for PENDING rows with createdAt >= `created_from`, in the order of (createdAt, id):
/// - those behind `after`, of transactions from `unseen_from` on, or of any when that is empty;
/// - those before it, of transactions from `late_from` on, or none when that is empty.
/// The first `limit` of them, and what else has the createdAt of the last, up to most_beyond_limit.
struct ScanQuery {
  std::string created_from;
  OutboxPosition after;
  std::optional<TransactionId> unseen_from, late_from;
  int limit = 0;
};

/// The statement's answer.
struct ScanPage {
  TransactionId oldest_open = 0;  ///< transactions below were over when the snapshot was taken
  TransactionId next_id = 0;      ///< no smaller than the next id to be given out just after that
  std::string created_from;       ///< a createdAt: transactions from next_id on create no rows before it
  std::string assumed_from;       ///< a createdAt: hidden rows are taken to have it while nothing is known
  std::string retried;            ///< another one since dead letters were last given back
  std::vector<WrittenEvent> rows;
  std::chrono::steady_clock::time_point at;  ///< by our clock, when it came
};

/// What is known holds for one server: another one's ids may have come less far. Not thread-safe.
class SnapshotScans {
 public:
  using Clock = std::chrono::steady_clock;
  using Ask = std::function<ScanPage(const ScanQuery&)>;

  /// The next read() begins at the oldest row.
  void start_over();
  /// Replaces `out` by up to `limit` rows that were not given before, more where others belong to the last;
  /// fewer when there are no more that are committed by now. When `ask` throws, the next call goes on from
  /// there.
  void read(int limit, Clock::time_point now, const Ask& ask, std::vector<OutboxEvent>& out);
  /// A row that was read by other means: it will not be given as well.
  void was_given(const std::string& id, std::uint32_t transaction);

 private:
  struct Late {
    TransactionId from = 0;
    std::string created_from;
  };
  /// One pass through what is PENDING.
  struct Scan {
    bool full = false;  ///< whatever createdAt says
    std::optional<TransactionId> unseen_from;
    OutboxPosition cursor;                              ///< of the last row that was read
    std::optional<TransactionId> oldest_open_at_begin;  ///< oldest_open of its first page
    std::optional<Late> late;     ///< which rows may have become visible before the cursor
    bool passed_retried = false;  ///< maybe: dead letters were given back while it went on
    Clock::time_point begun;
  };
  /// A row that was given and may be met again.
  struct Given {
    std::uint32_t transaction = 0;
    std::uint64_t met_in_scan = 0;
    bool left_out = false;  ///< until the next scan
  };

  void begin_scan(Clock::time_point now);
  [[nodiscard]] bool is_outdated_by(ScanPage& page);
  [[nodiscard]] ScanQuery next_query(int limit) const;
  [[nodiscard]] bool take(ScanPage page, const ScanQuery& query, int limit, std::vector<OutboxEvent>& out);
  [[nodiscard]] bool give(const WrittenEvent& row);
  [[nodiscard]] int may_be_met_again() const;
  void end_scan(Clock::time_point now);

  std::optional<Scan> scan_;
  std::uint64_t scans_ = 0;
  // Rows of transactions below were read by the last scan, and by the last full one.
  std::optional<TransactionId> read_below_, full_scan_read_below_;
  CreatedAtBounds bounds_;
  Clock::time_point full_scan_at_{};
  std::string retried_;
  std::unordered_map<std::string, Given> given_;  // by id
};

}  // namespace tidings
