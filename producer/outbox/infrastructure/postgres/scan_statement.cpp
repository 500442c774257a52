#include "infrastructure/postgres/scan_statement.hpp"

#include "infrastructure/outbox_columns.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace tidings {
namespace {

using namespace outbox_columns;

enum PageColumn : std::size_t {
  oldest_open,
  over_below,
  next_id,
  started,
  created_from,
  assumed_from,
  retried,
  first_of_event
};

TransactionId read_id(const SqlRows& rows, PageColumn column) {
  return static_cast<TransactionId>(rows.integer(0, column));
}

/// The id with this lower half that comes next from `over_below` on.
TransactionId with_upper_half(TransactionId lower_half, TransactionId over_below) {
  const auto ahead = static_cast<std::int32_t>(static_cast<std::uint32_t>(lower_half - over_below));
  return over_below + static_cast<TransactionId>(std::max(ahead, 0));
}

}  // namespace

// $1 where to begin, $2 and $3 the cursor, $4 and $5 the transactions behind and before it, $6 the limit.
//
// The clock is read first and the next transaction id second, or a transaction could get an id in between,
// and have written before the time at which its id is said not to be given out yet. That id is not
// pg_snapshot_xmax(), which is one past the highest id that is *over*: ids from there on may be of open
// transactions. age() counts from the next id; 3 is the first that there is.
//
// createdAt is taken when a transaction writes, up to 200 ms before it gets its id. Other writers' clocks may
// differ by more: what is older than it should be is found by the next full scan. A processor that has just
// started cannot know for how long the transactions that it finds have been open: it takes 10 minutes for the
// longest.
//
// A join with one row keeps the order of the other side; to sort once more would be a fifth of the whole. The
// inner limit is by createdAt alone, the index's own order: where statistics say that next to nothing is
// PENDING, a limit by the whole order would have everything that is PENDING read and sorted for each page.
const std::string& scan_statement() {
  static const std::string statement = R"sql(
    WITH clock AS MATERIALIZED (
           SELECT pg_current_snapshot() AS snapshot, clock_timestamp() AT TIME ZONE 'UTC' AS time),
         now AS MATERIALIZED (
           SELECT pg_snapshot_xmin(snapshot) AS oldest_open,
                  pg_snapshot_xmax(snapshot) AS over_below,
                  (age('3'::xid)::bigint + 3) & 4294967295 AS next_id,
                  extract(epoch FROM pg_postmaster_start_time()) AS started,
                  time - interval '200 milliseconds' AS created_from,
                  time - interval '10 minutes' AS assumed_from,
                  (SELECT xmin FROM outbox_state WHERE name = 'retried') AS retried
           FROM clock),
         page AS (SELECT * FROM ()sql" +
                                       select(Database::Kind::postgresql, Columns::event) +
                                       R"sql(
             WHERE status = 'PENDING' AND "createdAt" >= $1::timestamp
               AND (("createdAt", id COLLATE "C") > ($2::timestamp, $3::text)
                      AND ($4::bigint IS NULL OR ((xmin::text::bigint - $4) & 4294967295) < 2147483648)
                    OR ((xmin::text::bigint - $5) & 4294967295) < 2147483648)
             ORDER BY "createdAt" FETCH FIRST $6 ROWS WITH TIES) AS earliest)sql" +
                                       R"sql( ORDER BY "createdAt", id COLLATE "C" LIMIT $6::bigint + )sql" +
                                       std::to_string(most_beyond_limit) + R"sql()
    SELECT now.*, page.* FROM now LEFT JOIN page ON true)sql";
  return statement;
}

ScanAnswer take_scan_answer(SqlRows& rows) {
  ScanAnswer answer{.page = {}, .server_started = rows.text(0, started)};
  auto& page = answer.page;
  page.at = SnapshotScans::Clock::now();
  page.oldest_open = read_id(rows, oldest_open);
  page.next_id = with_upper_half(read_id(rows, next_id), read_id(rows, over_below));
  page.created_from = rows.text(0, created_from);
  page.assumed_from = rows.text(0, assumed_from);
  page.retried = rows.text(0, retried);
  if (!rows.is_null(0, first_of_event))  // else the one row without an event
    page.rows = take_written(rows, first_of_event);
  return answer;
}

}  // namespace tidings
