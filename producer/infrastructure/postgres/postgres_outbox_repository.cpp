#include "infrastructure/postgres/postgres_outbox_repository.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>

namespace tidings {
namespace {

using std::chrono::steady_clock;

/// Their order in `header` and what follows it.
enum Column : int {
  id,
  aggregate_id,
  aggregate_type,
  event_type,
  event_version,
  occurred_at,
  created_at,
  updated_at,
  retry_count,
  status,
  transaction_id,
  event_data,
  last_error,
  processed_at,
  published_at
};
const std::string header =
    "id, \"aggregateId\", \"aggregateType\", \"eventType\", \"eventVersion\", \"occurredAt\", \"createdAt\", "
    "\"updatedAt\", \"retryCount\", status, xmin";
const std::string event = header + ", \"eventData\"";
const std::string row_columns = event + ", \"lastError\", \"processedAt\", \"publishedAt\"";

// The clock's time, or where the aggregate has a row of this millisecond already, a time that puts this one
// behind it. The aggregate is compared as an expression, for which there is no index: the few rows of a
// millisecond are found by status and createdAt, where an aggregate may have a million rows.
const std::string insert = R"sql(
    INSERT INTO outbox_event (id, "aggregateId", "aggregateType", "eventType", "eventData", "eventVersion",
                              "occurredAt", "createdAt", "updatedAt")
    SELECT $1::text, $2::text, $3::text, $4, $5::jsonb, $6::integer, $7::timestamp, at.time, at.time
    FROM (SELECT CASE WHEN last.id IS NULL THEN clock.time
                      WHEN last.id COLLATE "C" < $1 THEN last.time
                      ELSE last.time + interval '1 millisecond' END AS time
          FROM (SELECT date_trunc('milliseconds', clock_timestamp() AT TIME ZONE 'UTC') AS time) AS clock
          LEFT JOIN LATERAL (SELECT id, "createdAt" AS time FROM outbox_event
                             WHERE status IN ('PENDING', 'PUBLISHED', 'FAILED', 'PROCESSING', 'DEAD_LETTER')
                               AND "createdAt" >= clock.time
                               AND "aggregateId" || '' = $2 AND "aggregateType" || '' = $3
                             ORDER BY "createdAt" DESC, id COLLATE "C" DESC LIMIT 1) AS last ON true) AS at)sql";

// By bytes, since the database's own order of texts is slower and may be another on the next host.
const std::string in_order = " ORDER BY \"createdAt\", id COLLATE \"C\"";

constexpr const char* beginning = "-infinity";

// createdAt is taken when a transaction writes, shortly before it gets its id. Other writers' clocks may
// differ by more: what is older than it should be is found by the next full look. Full looks take a hundredth
// of the time.
constexpr const char* slack = "200 milliseconds";
// A processor that has just begun cannot know for how long the transactions that it finds have been open.
constexpr const char* longest_unknown = "10 minutes";
constexpr std::chrono::milliseconds between_epochs{50};
constexpr int full_look_share = 100;
constexpr std::chrono::seconds full_look_interval{5};

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
    "', page.* FROM look LEFT JOIN page ON true" + in_order;

constexpr int looks_per_row = 10;  // of cleanup

std::uint64_t number(std::string_view digits) {
  std::uint64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

/// Ids of transactions go round: xmin has the lower half of what a snapshot says.
bool not_before(std::uint32_t transaction, const std::string& other) {
  return transaction - static_cast<std::uint32_t>(number(other)) < std::uint32_t{1} << 31U;
}

std::uint32_t transaction_of(const PostgresRows& rows, int row, int at) {
  return static_cast<std::uint32_t>(number(rows.text(row, at + transaction_id)));
}

/// Times as PostgreSQL writes them stand in order as texts, -infinity before all.
bool is_before(const OutboxPosition& left, const OutboxPosition& right) {
  return std::tie(left.created_at, left.id) < std::tie(right.created_at, right.id);
}

/// infinity, -infinity and years before 1 read as the epoch itself.
Timestamp time_of(std::string_view text) { return parse_timestamp(text).value_or(Timestamp{}); }

std::string iso(std::string_view text) { return text.empty() ? std::string{} : to_iso8601(time_of(text)); }

int count_of(const PostgresRows& rows, int row, int column) {
  return static_cast<int>(
      std::clamp<std::int64_t>(rows.integer(row, column), 0, std::numeric_limits<int>::max()));
}

/// `at`: the column that `header` begins at.
OutboxEvent read_header(const PostgresRows& rows, int row, int at = 0) {
  OutboxEvent read;
  read.id = rows.text(row, at + id);
  read.position = {std::string{rows.text(row, at + created_at)}, read.id};
  read.aggregate_id = rows.text(row, at + aggregate_id);
  read.aggregate_type = rows.text(row, at + aggregate_type);
  read.event_type = rows.text(row, at + event_type);
  read.event_version = count_of(rows, row, at + event_version);
  read.occurred_at = time_of(rows.text(row, at + occurred_at));
  read.updated_at = time_of(rows.text(row, at + updated_at));
  read.retry_count = count_of(rows, row, at + retry_count);
  read.status = parse_outbox_status(rows.text(row, at + status)).value_or(OutboxStatus::dead_letter);
  return read;
}

OutboxEvent read_event(const PostgresRows& rows, int row, int at = 0) {
  auto read = read_header(rows, row, at);
  read.event_data = rows.text(row, at + event_data);
  return read;
}

OutboxRow read_row(const PostgresRows& rows, int row) {
  return {.event = read_event(rows, row),
          .last_error = std::string{rows.text(row, last_error)},
          .created_at = iso(rows.text(row, created_at)),
          .processed_at = iso(rows.text(row, processed_at)),
          .published_at = iso(rows.text(row, published_at))};
}

std::vector<OutboxRow> read_rows(const PostgresRows& rows) {
  std::vector<OutboxRow> all;
  for (int row = 0; row < rows.size(); ++row) all.push_back(read_row(rows, row));
  return all;
}

}  // namespace

PostgresOutboxRepository::PostgresOutboxRepository(PostgresOutboxDatabase& database) : database_(database) {
  attempt("use the outbox in " + database.name(),
          [&] { database_.query("SELECT " + row_columns + " FROM outbox_event LIMIT 0"); });
}

void PostgresOutboxRepository::add(Transaction& transaction, const DomainEvent& added) {
  database_.require_own(transaction);
  database_.queue(insert, added.id, added.aggregate_id, added.aggregate_type, added.event_type,
                  added.event_data(), added.event_version, to_iso8601(added.occurred_at));
  database_.wake_relay_at_commit();
}

bool PostgresOutboxRepository::rewind() {
  look_.reset();
  horizon_.clear();
  full_horizon_.clear();
  given_.clear();
  return oldest_pending().has_value();
}

void PostgresOutboxRepository::read_pending(int limit, std::vector<OutboxEvent>& out) {
  attempt("read pending events", [&] {
    out.clear();
    bool sees_all = !look_;  // what is committed by now, and not only when an earlier call began the look
    if (!look_) begin_look();
    while (out.size() < static_cast<std::size_t>(limit)) {
      if (read_page(limit - static_cast<int>(out.size()), out)) continue;
      end_look();
      if (std::exchange(sees_all, true)) return;
      begin_look();
    }
  });
}

void PostgresOutboxRepository::begin_look() {
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
bool PostgresOutboxRepository::read_page(int limit, std::vector<OutboxEvent>& out) {
  auto& look = *look_;
  const auto unless_empty = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional{text};
  };
  const auto start =
      look.horizon.empty() ? look.cursor.created_at : std::min(look.late_from, look.cursor.created_at);
  const int most = limit + may_be_met_again();
  const auto rows = database_.query(page, start, look.cursor.created_at, look.cursor.id,
                                    unless_empty(look.lower), unless_empty(look.horizon), most);
  // The snapshot is that of the statement, and so as old as the rows.
  const std::string horizon{rows.text(0, 0)};
  keep_epoch(number(rows.text(0, 1)), std::string{rows.text(0, 2)});
  if (look.first_horizon.empty()) look.first_horizon = horizon;

  constexpr int first = 4;
  const int size = rows.is_null(0, first + id) ? 0 : rows.size();
  int given = 0, read = 0;
  bool passed_cursor = false;
  for (; read < size && given < limit; ++read) {
    auto event = read_event(rows, read, first);
    passed_cursor = is_before(look.cursor, event.position);
    if (passed_cursor) look.cursor = event.position;
    if (!give(event, transaction_of(rows, read, first))) continue;
    out.push_back(std::move(event));
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
void PostgresOutboxRepository::keep_epoch(std::uint64_t end, std::string from) {
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
std::string PostgresOutboxRepository::written_since(const std::string& horizon) {
  while (epochs_.size() > 1 && epochs_[1].end <= number(horizon)) epochs_.pop_front();
  return !epochs_.empty() && epochs_.front().end <= number(horizon) ? epochs_.front().from : std::string{};
}

/// False when it was given out before. Remembered is only what a later page or look may meet.
bool PostgresOutboxRepository::give(const OutboxEvent& event, std::uint32_t transaction) {
  if (const auto known = given_.find(event.id); known != given_.end()) {
    known->second.met_in_look = looks_;
    return false;
  }
  const auto& horizon = look_->full ? look_->first_horizon : full_horizon_;
  if (not_before(transaction, horizon)) given_.emplace(event.id, Given{transaction, looks_});
  return true;
}

int PostgresOutboxRepository::may_be_met_again() const {
  const auto& lower = look_->lower;
  return static_cast<int>(std::count_if(given_.begin(), given_.end(), [&lower](const auto& one) {
    return lower.empty() || not_before(one.second.transaction, lower);
  }));
}

void PostgresOutboxRepository::end_look() {
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

std::vector<OutboxEvent> PostgresOutboxRepository::read_aggregate(const AggregateRows& wanted, int limit) {
  return attempt("read the events of an aggregate", [&] {
    const auto rows = database_.query("SELECT " + event +
                                          " FROM outbox_event WHERE \"aggregateId\" = $1 AND "
                                          "\"aggregateType\" = $2 AND status IN ('PENDING', "
                                          "'PROCESSING', 'FAILED') AND ((\"createdAt\", id COLLATE \"C\") > "
                                          "($3::timestamp, $4::text) OR ($5 AND "
                                          "id = $4))" +
                                          in_order + " LIMIT $6",
                                      wanted.aggregate_id, wanted.aggregate_type,
                                      wanted.after.created_at.empty() ? beginning : wanted.after.created_at,
                                      wanted.after.id, wanted.with_first, limit);
    std::vector<OutboxEvent> read;
    for (int row = 0; row < rows.size(); ++row) {
      read.push_back(read_event(rows, row));
      // Also when read_pending() is still to come to it: it will not be given out twice.
      given_.try_emplace(read.back().id, Given{transaction_of(rows, row, 0), looks_});
    }
    return read;
  });
}

std::vector<OutboxEvent> PostgresOutboxRepository::read_retries(const OutboxPosition& after, int limit) {
  return attempt("read failed events", [&] {
    const auto rows =
        database_.query("SELECT " + header +
                            " FROM outbox_event WHERE status IN ('FAILED', 'PROCESSING') AND (\"createdAt\", "
                            "id COLLATE \"C\") > "
                            "($1::timestamp, $2::text)" +
                            in_order + " LIMIT $3",
                        after.created_at.empty() ? beginning : after.created_at, after.id, limit);
    std::vector<OutboxEvent> read;
    for (int row = 0; row < rows.size(); ++row) read.push_back(read_header(rows, row));
    return read;
  });
}

std::int64_t PostgresOutboxRepository::count_pending() {
  return attempt("count pending events", [&] {
    return database_.query("SELECT count(*) FROM outbox_event WHERE status = 'PENDING'").integer(0, 0);
  });
}

std::optional<Timestamp> PostgresOutboxRepository::oldest_pending() {
  return attempt("read the oldest pending event", [&]() -> std::optional<Timestamp> {
    const auto rows = database_.query(
        "SELECT \"createdAt\" FROM outbox_event WHERE status = 'PENDING' ORDER BY \"createdAt\" LIMIT 1");
    if (rows.empty()) return std::nullopt;
    return time_of(rows.text(0, 0));
  });
}

/// publishedAt has no index, but createdAt <= publishedAt: see PublishedRows, which does the same for SQLite.
OutboxRepository::Cleanup PostgresOutboxRepository::cleanup(Transaction& transaction, Timestamp before,
                                                            int limit) {
  database_.require_own(transaction);
  limit = std::max(1, limit);
  return attempt("delete published events", [&] {
    const auto limit_time = to_iso8601(before);
    Cleanup done;
    for (int page = 0; page < looks_per_row && done.deleted < limit; ++page) {
      const int wanted = limit - done.deleted;
      // A foreign writer may leave publishedAt empty; updatedAt is then when it was marked.
      const auto rows = database_.query(
          "WITH page AS MATERIALIZED (SELECT id, \"createdAt\", coalesce(\"publishedAt\", \"updatedAt\") AS "
          "at "
          "FROM outbox_event WHERE status = 'PUBLISHED' AND \"createdAt\" >= $1::timestamp AND "
          "(\"createdAt\", id "
          "COLLATE \"C\") > ($1::timestamp, $2::text) AND \"createdAt\" < $3::timestamp" +
              in_order +
              " LIMIT $4), gone AS (DELETE FROM outbox_event USING page WHERE outbox_event.id = page.id AND "
              "page.at < $3::timestamp RETURNING 1) SELECT \"createdAt\", id, (SELECT count(*) FROM gone), "
              "(SELECT count(*) FROM page) FROM page ORDER BY \"createdAt\" DESC, id COLLATE \"C\" DESC "
              "LIMIT 1",
          cleaned_.created_at.empty() ? beginning : cleaned_.created_at, cleaned_.id, limit_time, wanted);
      if (rows.empty() || rows.integer(0, 3) < wanted) {
        if (!rows.empty()) done.deleted += static_cast<int>(rows.integer(0, 2));
        cleaned_ = {};
        return done;
      }
      done.deleted += static_cast<int>(rows.integer(0, 2));
      cleaned_ = {std::string{rows.text(0, 0)}, std::string{rows.text(0, 1)}};
    }
    done.more = true;
    return done;
  });
}

std::vector<OutboxRow> PostgresOutboxRepository::list(std::optional<OutboxStatus> wanted, int limit) {
  return attempt("list events", [&] {
    const std::string newest_first = " ORDER BY \"createdAt\" DESC, id COLLATE \"C\" DESC LIMIT $1";
    if (wanted)
      return read_rows(database_.query("SELECT " + row_columns +
                                           " FROM outbox_event WHERE status = $2::\"OutboxEventStatus\"" +
                                           newest_first,
                                       limit, to_string(*wanted)));
    // Of each status the newest, by the index; createdAt alone has none.
    return read_rows(database_.query(
        "SELECT newest.* FROM unnest(enum_range(NULL::\"OutboxEventStatus\")) AS each, LATERAL (SELECT " +
            row_columns + " FROM outbox_event WHERE status = each" + newest_first + ") AS newest" +
            newest_first,
        limit));
  });
}

std::optional<OutboxRow> PostgresOutboxRepository::find(const std::string& wanted) {
  return attempt("find an event", [&]() -> std::optional<OutboxRow> {
    const auto rows = database_.query("SELECT " + row_columns + " FROM outbox_event WHERE id = $1", wanted);
    if (rows.empty()) return std::nullopt;
    return read_row(rows, 0);
  });
}

OutboxStats PostgresOutboxRepository::stats(int blocked_at_most) {
  OutboxStats stats;
  database_.transact([&](Transaction&) {
    attempt("count events", [&] {
      database_.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
      const auto counts = database_.query(
          "SELECT (SELECT count(*) FROM outbox_event WHERE status = 'PENDING'), "
          "(SELECT count(*) FROM outbox_event WHERE status = 'PROCESSING'), "
          "(SELECT count(*) FROM outbox_event WHERE status = 'FAILED'), "
          "(SELECT count(*) FROM outbox_event WHERE status = 'DEAD_LETTER')");
      stats.pending = counts.integer(0, 0);
      stats.processing = counts.integer(0, 1);
      stats.failed = counts.integer(0, 2);
      stats.dead_letter = counts.integer(0, 3);
      stats.oldest_pending = oldest_pending();
      stats.processor = read_state(database_);
      stats.published = stats.processor ? stats.processor->published  // else nobody has counted yet
                                        : database_
                                              .query(
                                                  "SELECT count(*) FROM outbox_event WHERE status = "
                                                  "'PUBLISHED'")
                                              .integer(0, 0);
      const auto blocked = database_.query(
          "SELECT \"aggregateType\", \"aggregateId\", id, \"retryCount\", \"lastError\", count(*) OVER () "
          "FROM "
          "(SELECT DISTINCT ON (\"aggregateId\", \"aggregateType\") * FROM outbox_event WHERE status IN "
          "('FAILED', 'PROCESSING') ORDER BY \"aggregateId\", \"aggregateType\", \"createdAt\", id COLLATE "
          "\"C\") "
          "AS heads" +
              in_order + " LIMIT $1",
          std::max(1, blocked_at_most));
      for (int row = 0; row < blocked.size(); ++row) {
        stats.blocked_aggregates = blocked.integer(row, 5);
        stats.blocked.push_back({.aggregate_type = std::string{blocked.text(row, 0)},
                                 .aggregate_id = std::string{blocked.text(row, 1)},
                                 .event_id = std::string{blocked.text(row, 2)},
                                 .retry_count = count_of(blocked, row, 3),
                                 .last_error = std::string{blocked.text(row, 4)}});
      }
    });
  });
  return stats;
}

}  // namespace tidings
