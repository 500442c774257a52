#include "infrastructure/postgres/snapshot_reader.hpp"

#include "infrastructure/postgres/postgres_columns.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace tidings {
namespace {

using namespace postgres_columns;

// $1 where to begin, $2 and $3 the cursor, $4 and $5 the transactions behind and before it, $6 the limit.
//
// The clock is read first and the next transaction id second, or a transaction could get an id in between,
// and have written before the time at which its id is said not to be given out yet. That id is not
// pg_snapshot_xmax(), which is one past the highest id that is *over*: ids from there on may be of open
// transactions. age() counts from the next id; 3 is the first that there is.
//
// createdAt is taken when a transaction writes, up to 200 ms before it gets its id. Other writers' clocks may
// differ by more: what is older than it should be is found by the next full scan. A processor that has just
// begun cannot know for how long the transactions that it finds have been open: it takes 10 minutes for the
// longest.
//
// A join with one row keeps the order of the other side; to sort once more would be a fifth of the whole.
const std::string page = R"sql(
    WITH clock AS MATERIALIZED (
           SELECT pg_current_snapshot() AS snapshot, clock_timestamp() AT TIME ZONE 'UTC' AS time),
         now AS MATERIALIZED (
           SELECT pg_snapshot_xmin(snapshot) AS oldest_open,
                  pg_snapshot_xmax(snapshot) AS over_below,
                  (age('3'::xid)::bigint + 3) & 4294967295 AS next_id,
                  extract(epoch FROM pg_postmaster_start_time()) AS started,
                  time - interval '200 milliseconds' AS created_from,
                  time - interval '10 minutes' AS assumed_from
           FROM clock),
         page AS (SELECT )sql" +
                         event +
                         R"sql(
           FROM outbox_event
           WHERE status = 'PENDING' AND "createdAt" >= $1::timestamp
             AND (("createdAt", id COLLATE "C") > ($2::timestamp, $3::text)
                    AND ($4::bigint IS NULL OR ((xmin::text::bigint - $4) & 4294967295) < 2147483648)
                  OR ((xmin::text::bigint - $5) & 4294967295) < 2147483648))sql" +
                         in_order + R"sql(
           LIMIT $6)
    SELECT now.*, page.* FROM now LEFT JOIN page ON true)sql";

enum Column : int { oldest_open, over_below, next_id, started, created_from, assumed_from, first_of_event };

TransactionId read_id(const PostgresRows& rows, Column column) {
  const auto digits = rows.text(0, column);
  TransactionId value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

/// The id with this lower half that comes next from `over_below` on.
TransactionId with_upper_half(TransactionId lower_half, TransactionId over_below) {
  const auto ahead = static_cast<std::int32_t>(static_cast<std::uint32_t>(lower_half - over_below));
  return over_below + static_cast<TransactionId>(std::max(ahead, 0));
}

}  // namespace

void SnapshotReader::read(int limit, std::vector<OutboxEvent>& out) {
  scans_.read(
      limit, SnapshotScans::Clock::now(), [this](const ScanQuery& query) { return read_page(query); }, out);
}

ScanPage SnapshotReader::read_page(const ScanQuery& query) {
  const auto rows = database_.query(page, query.created_from, query.after.created_at, query.after.id,
                                    query.unseen_from, query.late_from, query.limit);
  ScanPage read;
  read.at = SnapshotScans::Clock::now();
  read.oldest_open = read_id(rows, oldest_open);
  read.next_id = with_upper_half(read_id(rows, next_id), read_id(rows, over_below));
  require_same_server(rows.text(0, started), read.next_id);
  read.created_from = rows.text(0, created_from);
  read.assumed_from = rows.text(0, assumed_from);
  const int size = rows.is_null(0, first_of_event) ? 0 : rows.size();
  read.rows.reserve(static_cast<std::size_t>(size));
  for (int row = 0; row < size; ++row)
    read.rows.push_back({read_event(rows, row, first_of_event), read_transaction(rows, row, first_of_event)});
  return read;
}

/// Ids that were given out may be given out once more by a server that has taken another's place, or that has
/// lost what it had not written when it crashed. A pooler keeps our session through both.
void SnapshotReader::require_same_server(std::string_view started, TransactionId next_id) {
  if (database_.session() != session_ || (!server_started_.empty() && started != server_started_) ||
      next_id < next_id_)
    throw SqlError("the connection is a new one, perhaps to another server: reading begins anew",
                   Error::Retry::yes);
  server_started_ = started;
  next_id_ = next_id;
}

}  // namespace tidings
