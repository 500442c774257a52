#include "infrastructure/postgres/snapshot_scans.hpp"

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

constexpr int full_scan_share = 100;  // full scans take a hundredth of the time
constexpr std::chrono::seconds longest_between_full_scans{5};

/// A row has the lower half of its transaction's id, which wraps around.
bool not_before(std::uint32_t transaction, TransactionId other) {
  return transaction - static_cast<std::uint32_t>(other) < std::uint32_t{1} << 31U;
}

}  // namespace

void SnapshotScans::start_over() {
  scan_.reset();
  read_below_.reset();
  full_scan_read_below_.reset();
  given_.clear();
}

void SnapshotScans::read(int limit, Clock::time_point now, const Ask& ask, std::vector<OutboxEvent>& out) {
  out.clear();
  while (out.size() < static_cast<std::size_t>(limit)) {
    if (!scan_) begin_scan(now);
    const int wanted = limit - static_cast<int>(out.size());
    const auto query = next_query(wanted);
    auto page = ask(query);
    now = page.at;
    if (is_outdated_by(page)) {
      scan_.reset();
      continue;
    }
    if (take(std::move(page), query, wanted, out)) continue;
    const bool again = scan_->passed_retried;
    end_scan(now);
    if (!again) return;
    full_scan_at_ = {};
  }
}

/// Dead letters that are given back have been created long ago, and yet belong before those that were created
/// later and are given back with them. Only a scan that begins at the oldest row meets both, so an ordinary
/// one ends. A full one that is under way goes on, and leaves what has become visible meanwhile to the next.
bool SnapshotScans::is_outdated_by(ScanPage& page) {
  if (page.retried == retried_) return false;
  retried_ = std::move(page.retried);
  full_scan_at_ = {};
  scan_->passed_retried = scan_->full && scan_->oldest_open_at_begin;
  return !scan_->full;
}

void SnapshotScans::begin_scan(Clock::time_point now) {
  const auto hidden_from = bounds_.hidden_from();
  Scan scan;
  scan.begun = now;
  scan.full = !full_scan_read_below_ || !hidden_from || now >= full_scan_at_;
  scan.unseen_from = scan.full ? full_scan_read_below_ : read_below_;
  scan.cursor = {scan.full ? "-infinity" : *hidden_from, {}};
  scan_ = std::move(scan);
  ++scans_;
}

ScanQuery SnapshotScans::next_query(int limit) const {
  const auto& cursor = scan_->cursor;
  const auto& late = scan_->late;
  return {.created_from = late ? std::min(late->created_from, cursor.created_at) : cursor.created_at,
          .after = cursor,
          .unseen_from = scan_->unseen_from,
          .late_from = late ? std::optional{late->from} : std::nullopt,
          .limit = limit + may_be_met_again()};
}

/// False when that was the last page of the scan.
///
/// When a lock has put two events of an aggregate in order, a snapshot that shows the later one shows the
/// earlier one, too, and its (createdAt, id) is smaller. So a statement that gives all that it sees, up to
/// its limit, gives them in order. Each further statement also gives what has become visible before the
/// cursor meanwhile, and gives it first: after the last one, all that its snapshot shows was given. What one
/// transaction has written in a millisecond is in another order than that of ids, and not cut in two.
bool SnapshotScans::take(ScanPage page, const ScanQuery& query, int limit, std::vector<OutboxEvent>& out) {
  auto& scan = *scan_;
  bounds_.add(page.oldest_open, page.next_id, std::move(page.created_from), page.at);
  if (!scan.oldest_open_at_begin) scan.oldest_open_at_begin = page.oldest_open;
  order_ties(page.rows);

  std::size_t read = 0;
  int given = 0;
  bool passed_cursor = false, held = false;
  for (; read < page.rows.size() && (given < limit || held); ++read) {
    auto& row = page.rows[read];
    held = row.holds_next;
    if (scan.cursor < row.event.position) {
      passed_cursor = true;
      scan.cursor = row.event.position;
    }
    if (!give(row)) continue;
    out.push_back(std::move(row.event));
    ++given;
  }
  const bool more = read < page.rows.size() || page.rows.size() >= static_cast<std::size_t>(query.limit);
  if (passed_cursor || !more)
    scan.late = {page.oldest_open, bounds_.hidden_from().value_or(std::move(page.assumed_from))};
  return more;
}

/// False when it was given before, or is left to the next scan. Remembered is only what a later page or scan
/// may meet. What another transaction has written since is a row that was settled, and given back.
bool SnapshotScans::give(const WrittenEvent& row) {
  const bool left_out = scan_->passed_retried && not_before(row.transaction, *scan_->oldest_open_at_begin);
  const auto known = given_.find(row.event.id);
  if (known != given_.end() && known->second.transaction == row.transaction && !known->second.left_out) {
    known->second.met_in_scan = scans_;
    return false;
  }
  const auto& read_below = scan_->full ? scan_->oldest_open_at_begin : full_scan_read_below_;
  if (known != given_.end() || not_before(row.transaction, *read_below))
    given_[row.event.id] = {row.transaction, scans_, left_out};
  return !left_out;
}

void SnapshotScans::was_given(const std::string& id, std::uint32_t transaction) {
  given_[id] = {transaction, scans_};
}

int SnapshotScans::may_be_met_again() const {
  const auto& unseen_from = scan_->unseen_from;
  return static_cast<int>(std::count_if(given_.begin(), given_.end(), [&unseen_from](const auto& one) {
    return !unseen_from || not_before(one.second.transaction, *unseen_from);
  }));
}

void SnapshotScans::end_scan(Clock::time_point now) {
  const auto& scan = *scan_;
  read_below_ = scan.late->from;
  if (scan.full) {
    full_scan_read_below_ = scan.oldest_open_at_begin;
    full_scan_at_ =
        now + std::min<Clock::duration>((now - scan.begun) * full_scan_share, longest_between_full_scans);
    // What was not met is no longer PENDING, or of a transaction that no scan will take for new.
    std::erase_if(given_, [&](const auto& one) {
      return one.second.met_in_scan != scans_ || !not_before(one.second.transaction, *full_scan_read_below_);
    });
  }
  scan_.reset();
}

}  // namespace tidings
