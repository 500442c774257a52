#include "infrastructure/sqlite/published_rows.hpp"

#include "database/statement_run.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace tidings {
namespace {

constexpr int examined_per_row = 10;

/// A foreign writer may leave publishedAt empty; updatedAt then says when it was published.
Timestamp published_at(const StatementRun& run) {
  const auto time = read_time(run.column(2));
  return time == Timestamp{} ? read_time(run.column(3)) : time;
}

}  // namespace

PublishedRows::PublishedRows(SQLite::Database& database)
    : rows_(database,
            R"sql(
            SELECT rowid, createdAt, publishedAt, updatedAt FROM outbox_event
            WHERE status = 'PUBLISHED' AND (createdAt, rowid) > (?, ?) AND createdAt < ?
            ORDER BY createdAt, rowid LIMIT ?)sql"),
      newest_(database, "SELECT max(rowid) FROM outbox_event") {}

std::vector<std::int64_t> PublishedRows::next_before(Timestamp before, int limit) {
  limit = std::clamp(limit, 1, std::numeric_limits<int>::max() / examined_per_row);
  const int most_examined = limit * examined_per_row;
  const auto newest_row = newest();
  const auto created_before = to_iso8601(before);
  const auto from = std::exchange(seen_, {});  // bound without a copy, so it must stay as it is
  std::vector<std::int64_t> positions;
  StatementRun run{rows_};
  run.bind(from.created_at, from.position, created_before, most_examined);
  int examined = 0;
  at_end_ = true;
  while (run.next()) {
    const auto position = run.column(0).getInt64();
    if (position != newest_row && published_at(run) < before) positions.push_back(position);
    if (++examined < most_examined && positions.size() < static_cast<std::size_t>(limit)) continue;
    seen_ = {.created_at = read_text(run.column(1)), .position = position};
    at_end_ = false;
    break;
  }
  return positions;
}

std::int64_t PublishedRows::newest() {
  StatementRun run{newest_};
  return run.next() ? run.column(0).getInt64() : 0;
}

}  // namespace tidings
