#pragma once

// Transactions, ids and snapshots as PostgreSQL has them, and an outbox table that one statement reads: fast
// enough to try thousands of orders of events, and able to stand still at any point.

#include "infrastructure/postgres/snapshot_scans.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tidings::test {

class ImitatedPostgres {
 public:
  using Milliseconds = std::int64_t;

  explicit ImitatedPostgres(TransactionId first_id) : next_id_(first_id), over_below_(first_id) {}

  [[nodiscard]] Milliseconds time() const noexcept { return time_; }
  void pass(Milliseconds time) { time_ += time; }
  [[nodiscard]] TransactionId next_id() const noexcept { return next_id_; }

  /// A transaction takes ids as it needs them: the first for itself, further ones for its savepoints.
  TransactionId give_id(std::optional<TransactionId> parent = {}) {
    const auto id = next_id_++;
    open_[parent.value_or(id)].push_back(id);
    return id;
  }
  void insert(TransactionId id, const std::string& aggregate, int number, Milliseconds created_at) {
    rows_.push_back({aggregate, number, created_at, id});
  }
  void commit(TransactionId top) { end(top, true); }
  void roll_back(TransactionId top) { end(top, false); }

  struct Row {
    std::string aggregate;
    int number = 0;  ///< grows in the order in which the aggregate's lock was held
    Milliseconds created_at = 0;
    TransactionId transaction = 0;
    bool pending = true;
    [[nodiscard]] std::string id() const { return aggregate + "/" + std::to_string(number); }
  };
  [[nodiscard]] bool is_committed(const Row& row) const { return committed_.contains(row.transaction); }
  [[nodiscard]] std::vector<Row>& rows() noexcept { return rows_; }

  struct Snapshot {
    TransactionId xmin = 0, xmax = 0;
    std::set<TransactionId> committed;
  };
  /// xmax is one past the highest id that is over, whatever is open beyond it.
  [[nodiscard]] Snapshot snapshot() const {
    return {open_.empty() ? over_below_ : std::min(over_below_, open_.begin()->first), over_below_,
            committed_};
  }

  /// The rows that the statement reads; the rest of the page is the caller's.
  [[nodiscard]] std::vector<WrittenEvent> read(const Snapshot& snapshot, const ScanQuery& query) const {
    std::vector<WrittenEvent> read;
    for (const auto& row : rows_) {
      if (!row.pending || !snapshot.committed.contains(row.transaction)) continue;
      WrittenEvent found;
      found.transaction = static_cast<std::uint32_t>(row.transaction);
      found.event.id = row.id();
      found.event.aggregate_id = row.aggregate;
      found.event.position = {text(row.created_at), row.id()};
      if (matches(found, query)) read.push_back(std::move(found));
    }
    const auto place = [](const WrittenEvent& row) {
      return std::pair{row.event.position.created_at, row.event.position.id};
    };
    std::sort(read.begin(), read.end(),
              [&](const auto& left, const auto& right) { return place(left) < place(right); });
    if (read.size() > static_cast<std::size_t>(query.limit))
      read.resize(static_cast<std::size_t>(query.limit));
    return read;
  }

  /// Stands in order as a text, behind -infinity.
  [[nodiscard]] static std::string text(Milliseconds time) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%020lld", static_cast<long long>(std::max<Milliseconds>(0, time)));
    return digits;
  }

 private:
  void end(TransactionId top, bool committed) {
    const auto ids = open_.extract(top).mapped();
    if (committed) committed_.insert(ids.begin(), ids.end());
    over_below_ = std::max(over_below_, ids.back() + 1);
  }

  /// As the statement says it: with the lower halves of ids.
  [[nodiscard]] static bool matches(const WrittenEvent& row, const ScanQuery& query) {
    const auto from = [&row](TransactionId id) {
      return row.transaction - static_cast<std::uint32_t>(id) < std::uint32_t{1} << 31U;
    };
    const auto& position = row.event.position;
    if (position.created_at < query.created_from) return false;
    const bool behind =
        std::pair{position.created_at, position.id} > std::pair{query.after.created_at, query.after.id};
    return (behind && (!query.unseen_from || from(*query.unseen_from))) ||
           (query.late_from && from(*query.late_from));
  }

  Milliseconds time_ = 1'000'000;
  TransactionId next_id_, over_below_;
  std::map<TransactionId, std::vector<TransactionId>> open_;  // by the first id: all of a transaction
  std::set<TransactionId> committed_;
  std::vector<Row> rows_;
};

}  // namespace tidings::test
