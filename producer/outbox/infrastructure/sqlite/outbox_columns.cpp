#include "infrastructure/sqlite/outbox_columns.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace tidings {
namespace {

/// The places of the columns in the lists of the header file.
enum Place : int {
  position,
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
  event_data,
  last_error,
  processed_at,
  published_at
};

int read_count(const SQLite::Column& column) {
  return static_cast<int>(std::clamp<std::int64_t>(column.getInt64(), 0, std::numeric_limits<int>::max()));
}

}  // namespace

OutboxEvent read_header(const StatementRun& run) {
  OutboxEvent event;
  event.position = run.column(position).getInt64();
  event.id = read_text(run.column(id));
  event.aggregate_id = read_text(run.column(aggregate_id));
  event.aggregate_type = read_text(run.column(aggregate_type));
  event.event_type = read_text(run.column(event_type));
  event.event_version = read_count(run.column(event_version));
  event.occurred_at = read_time(run.column(occurred_at));
  if (event.occurred_at == Timestamp{}) event.occurred_at = read_time(run.column(created_at));
  event.retry_count = read_count(run.column(retry_count));
  event.status = parse_row_status(run.column(status).getText()).value_or(RowStatus::dead_letter);
  event.updated_at = read_time(run.column(updated_at));
  return event;
}

OutboxEvent read_event(const StatementRun& run) {
  auto event = read_header(run);
  event.event_data = read_text(run.column(event_data));
  return event;
}

OutboxRow read_row(const StatementRun& run) {
  return {.event = read_event(run),
          .last_error = read_text(run.column(last_error)),
          .created_at = read_text(run.column(created_at)),
          .processed_at = read_text(run.column(processed_at)),
          .published_at = read_text(run.column(published_at))};
}

}  // namespace tidings
