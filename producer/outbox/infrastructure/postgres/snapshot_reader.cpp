#include "infrastructure/postgres/snapshot_reader.hpp"

#include "infrastructure/postgres/postgres_columns.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <tuple>
#include <utility>

namespace tidings {
namespace {

using namespace postgres_columns;

// createdAt is taken when a transaction writes, shortly before it gets its id. Other writers' clocks may
// differ by more: what is older than it should be is found by the next full look. Full looks take a hundredth
// of the time.
constexpr const char* slack = "200 milliseconds";
// A processor that has just begun cannot know for how long the transactions that it finds have been open.
constexpr const char* longest_unknown = "10 minutes";
constexpr std::chrono::milliseconds between_epochs{50};
constexpr int full_look_share = 100;
constexpr std::chrono::seconds full_look_interval{5};

// A join with one row keeps the order of the other side; to sort once more would be a fifth of the whole.
// $1 where to begin, $2 and $3 the cursor, $4 lower, $5 the horizon of what is before the cursor, $6 limit.
const std::string page =
    "WITH look AS (SELECT pg_current_snapshot() AS snapshot, clock_timestamp() AT TIME ZONE 'UTC' AS time), "
    "page AS (SELECT " +
    event +
    " FROM outbox_event WHERE status = 'PENDING' AND \"createdAt\" >= $1::timestamp "
    "AND ((\"createdAt\", id COLLATE \"C\") > ($2::timestamp, $3::text) "
    "AND ($4::bigint IS NULL OR ((xmin::text::bigint - $4) & 4294967295) < 2147483648) "
    "OR ((xmin::text::bigint - $5) & 4294967295) < 2147483648)" +
    in_order +
    " LIMIT $6) SELECT pg_snapshot_xmin(look.snapshot), pg_snapshot_xmax(look.snapshot), look.time - "
    "interval '" +
    std::string(slack) + "', look.time - interval '" + std::string(longest_unknown) +
    "', page.* FROM look LEFT JOIN page ON true";

std::uint64_t number(std::string_view digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

/// Ids of transactions go round: xmin has the lower half of what a snapshot says.
bool not_before(std::uint32_t transaction, const std::string& other) {
  return transaction - static_cast<std::uint32_t>(number(other)) < std::uint32_t{1} << 31U;
}

/// Times as PostgreSQL writes them stand in order as texts, -infinity before all.
bool is_before(const OutboxPosition& left, const OutboxPosition& right) {
  return std::tie(left.created_at, left.id) < std::tie(right.created_at, right.id);
}

}  // namespace

void SnapshotReader::start_over() {
  look_.reset();
  horizon_.clear();
  full_horizon_.clear();
  given_.clear();
}

void SnapshotReader::read(int limit, std::vector<OutboxEvent>& out) {
  out.clear();
  bool sees_all = !look_;  // what is committed by now, and not only when an earlier call began the look
  if (!look_) begin_look();
  while (out.size() < static_cast<std::size_t>(limit)) {
    if (read_page(limit - static_cast<int>(out.size()), out)) continue;
    end_look();
    if (std::exchange(sees_all, true)) return;
    begin_look();
  }
}

void SnapshotReader::was_given(const std::string& id, std::uint32_t transaction) {
  given_.try_emplace(id, Given{transaction, looks_});
}

void SnapshotReader::begin_look() {
  Look look;
  look.begun = Clock::now();
  const auto since = written_since(horizon_);
  look.full = full_horizon_.empty() || since.empty() || look.begun >= full_look_at_;
  look.lower = look.full ? full_horizon_ : horizon_;
  look.cursor = {look.full ? beginning : since, {}};
  look_ = std::move(look);
  ++looks_;
}

/// False when that was the last of the look.
///
/// Of two events of an aggregate that a lock has put in order, whoever sees the later one sees the earlier
/// one too, whose (createdAt, id) is smaller. So a statement that gives all that it sees, up to its limit,
/// gives them in order. Over several, rows that have become visible before the cursor meanwhile are given
/// first.
bool SnapshotReader::read_page(int limit, std::vector<OutboxEvent>& out) {
  auto& look = *look_;
  const auto unless_empty = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional{text};
  };
  const auto start =
      look.horizon.empty() ? look.cursor.created_at : std::min(look.late_from, look.cursor.created_at);
  const int most = limit + may_be_met_again();
  const auto rows = database_.query(page, start, look.cursor.created_at, look.cursor.id,
                                    unless_empty(look.lower), unless_empty(look.horizon), most);
  if (database_.session() != session_)
    throw SqlError("the connection is a new one, perhaps to another server: reading begins anew",
                   Error::Retry::yes);
  // The snapshot is that of the statement, and so as old as the rows.
  const std::string horizon{rows.text(0, 0)};
  keep_epoch(number(rows.text(0, 1)), std::string{rows.text(0, 2)});
  if (look.first_horizon.empty()) look.first_horizon = horizon;

  constexpr int first = 4;
  const int size = rows.is_null(0, first) ? 0 : rows.size();
  int given = 0, read = 0;
  bool passed_cursor = false;
  for (; read < size && given < limit; ++read) {
    auto next = read_event(rows, read, first);
    passed_cursor = is_before(look.cursor, next.position);
    if (passed_cursor) look.cursor = next.position;
    if (!give(next, read_transaction(rows, read, first))) continue;
    out.push_back(std::move(next));
    ++given;
  }
  const bool more = read < size || size == most;
  if (passed_cursor || !more) {
    look.horizon = horizon;
    look.late_from = written_since(horizon);
    if (look.late_from.empty()) look.late_from = rows.text(0, 3);
  }
  return more;
}

/// The last is as new as can be. Those before it stand apart, the more the longer a transaction is open.
void SnapshotReader::keep_epoch(std::uint64_t end, std::string from) {
  const auto time = Clock::now();
  if (epochs_.size() > 1) {
    const auto& before = epochs_[epochs_.size() - 2];
    const auto apart = between_epochs + (before.at - epochs_.front().at) / 64;
    if (epochs_.back().at - before.at < apart) epochs_.pop_back();
  }
  epochs_.push_back({end, std::move(from), time});
}

/// No transaction from `horizon` on has written rows with createdAt before this; empty when that is not
/// known.
std::string SnapshotReader::written_since(const std::string& horizon) {
  while (epochs_.size() > 1 && epochs_[1].end <= number(horizon)) epochs_.pop_front();
  return !epochs_.empty() && epochs_.front().end <= number(horizon) ? epochs_.front().from : std::string{};
}

/// False when it was given out before. Remembered is only what a later page or look may meet.
bool SnapshotReader::give(const OutboxEvent& next, std::uint32_t transaction) {
  if (const auto known = given_.find(next.id); known != given_.end()) {
    known->second.met_in_look = looks_;
    return false;
  }
  const auto& horizon = look_->full ? look_->first_horizon : full_horizon_;
  if (not_before(transaction, horizon)) given_.emplace(next.id, Given{transaction, looks_});
  return true;
}

int SnapshotReader::may_be_met_again() const {
  const auto& lower = look_->lower;
  return static_cast<int>(std::count_if(given_.begin(), given_.end(), [&lower](const auto& one) {
    return lower.empty() || not_before(one.second.transaction, lower);
  }));
}

void SnapshotReader::end_look() {
  const auto& look = *look_;
  horizon_ = look.horizon;
  if (look.full) {
    full_horizon_ = look.first_horizon;
    full_look_at_ = Clock::now() + std::min<Clock::duration>((Clock::now() - look.begun) * full_look_share,
                                                             full_look_interval);
    // What was not met is no longer PENDING, or of a transaction that no look will take for new.
    std::erase_if(given_, [&](const auto& one) {
      return one.second.met_in_look != looks_ || !not_before(one.second.transaction, full_horizon_);
    });
  }
  look_.reset();
}

}  // namespace tidings
