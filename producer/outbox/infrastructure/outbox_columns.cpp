#include "infrastructure/outbox_columns.hpp"

#include "event/uuid_bytes.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace tidings::outbox_columns {
namespace {

/// The places of the columns in what select() makes.
enum Place : std::size_t {
  place,
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

/// Milliseconds since the epoch with a fraction, as SQLite may have them.
std::optional<Timestamp> read_fractional(std::string_view text) {
  double number = 0;
  const auto* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, number).ptr != end || !(std::abs(number) < 1e15)) return std::nullopt;
  return Timestamp{std::chrono::milliseconds{static_cast<std::int64_t>(number)}};
}

/// Whichever way it is stored; what cannot be read as a time stays as it is.
std::string iso(const std::string& text) {
  const auto time = read_time(text);
  return time == Timestamp{} ? text : to_iso8601(time);
}

}  // namespace

std::string bytes_of_uuid(std::string_view id) { return uuid_bytes(id).value_or(std::string{}); }

std::string select(Database::Kind kind, const std::string& columns) {
  return (kind == Database::Kind::sqlite ? "SELECT e.rowid, " : "SELECT e.xmin, ") + columns +
         " FROM outbox_event AS e";
}

OutboxEvent take_event(SqlRows& rows, std::size_t number, Database::Kind kind, std::size_t at) {
  const auto cell = [&](Place column) -> auto& { return rows.cells.at(number * rows.columns + at + column); };
  const auto take = [&](Place column) { return std::move(cell(column)).value_or(std::string{}); };
  const auto time = [&](Place column) {
    return read_time(cell(column) ? *cell(column) : std::string_view{});
  };
  OutboxEvent taken;
  taken.id = take(id);
  taken.aggregate_id = take(aggregate_id);
  taken.aggregate_type = take(aggregate_type);
  taken.event_type = take(event_type);
  taken.event_version = read_count(rows, number, at + event_version);
  taken.occurred_at = time(occurred_at);
  if (taken.occurred_at == Timestamp{}) taken.occurred_at = time(created_at);
  taken.updated_at = time(updated_at);
  taken.retry_count = read_count(rows, number, at + retry_count);
  taken.status = parse_row_status(take(status)).value_or(RowStatus::dead_letter);
  if (at + event_data < rows.columns) taken.event_data = take(event_data);
  taken.position = kind == Database::Kind::sqlite ? OutboxPosition{rows.integer(number, at + place)}
                                                  : OutboxPosition{take(created_at), taken.id};
  return taken;
}

std::vector<OutboxEvent> take_events(SqlRows rows, Database::Kind kind) {
  std::vector<OutboxEvent> events;
  events.reserve(rows.size());
  for (std::size_t number = 0; number < rows.size(); ++number)
    events.push_back(take_event(rows, number, kind));
  return events;
}

std::vector<OutboxRow> take_rows(SqlRows rows, Database::Kind kind) {
  std::vector<OutboxRow> taken;
  for (std::size_t number = 0; number < rows.size(); ++number) {
    taken.push_back({.event = {},
                     .last_error = rows.text(number, last_error),
                     .created_at = iso(rows.text(number, created_at)),
                     .processed_at = iso(rows.text(number, processed_at)),
                     .published_at = iso(rows.text(number, published_at))});
    taken.back().event = take_event(rows, number, kind);  // last: it moves texts out of the row
  }
  return taken;
}

Timestamp read_time(std::string_view text) {
  using namespace std::chrono;
  const auto parsed = parse_timestamp(text);
  const auto time = (parsed ? parsed : read_fractional(text)).value_or(Timestamp{});
  const bool in_calendar =
      time >= sys_days{year{1} / January / 1} && time < sys_days{year{10000} / January / 1};
  return in_calendar ? time : Timestamp{};
}

int read_count(const SqlRows& rows, std::size_t number, std::size_t column) {
  return static_cast<int>(
      std::clamp<std::int64_t>(rows.integer(number, column), 0, std::numeric_limits<int>::max()));
}

}  // namespace tidings::outbox_columns
