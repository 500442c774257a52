#include "infrastructure/postgres/postgres_columns.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>

namespace tidings::postgres_columns {
namespace {

/// The places of the columns in the lists of the header file.
enum Place : int {
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
  transaction,
  event_data,
  last_error,
  processed_at,
  published_at
};

std::string iso(std::string_view text) { return text.empty() ? std::string{} : to_iso8601(read_time(text)); }

}  // namespace

OutboxEvent read_header(const PostgresRows& rows, int number, int at) {
  OutboxEvent read;
  read.id = rows.text(number, at + id);
  read.position = {std::string{rows.text(number, at + created_at)}, read.id};
  read.aggregate_id = rows.text(number, at + aggregate_id);
  read.aggregate_type = rows.text(number, at + aggregate_type);
  read.event_type = rows.text(number, at + event_type);
  read.event_version = read_count(rows, number, at + event_version);
  read.occurred_at = read_time(rows.text(number, at + occurred_at));
  read.updated_at = read_time(rows.text(number, at + updated_at));
  read.retry_count = read_count(rows, number, at + retry_count);
  read.status = parse_row_status(rows.text(number, at + status)).value_or(RowStatus::dead_letter);
  return read;
}

OutboxEvent read_event(const PostgresRows& rows, int number, int at) {
  auto read = read_header(rows, number, at);
  read.event_data = rows.text(number, at + event_data);
  return read;
}

OutboxRow read_row(const PostgresRows& rows, int number) {
  return {.event = read_event(rows, number),
          .last_error = std::string{rows.text(number, last_error)},
          .created_at = iso(rows.text(number, created_at)),
          .processed_at = iso(rows.text(number, processed_at)),
          .published_at = iso(rows.text(number, published_at))};
}

std::uint32_t read_transaction(const PostgresRows& rows, int number, int at) {
  const auto digits = rows.text(number, at + transaction);
  std::uint32_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

Timestamp read_time(std::string_view text) { return parse_timestamp(text).value_or(Timestamp{}); }

int read_count(const PostgresRows& rows, int number, int column) {
  return static_cast<int>(
      std::clamp<std::int64_t>(rows.integer(number, column), 0, std::numeric_limits<int>::max()));
}

}  // namespace tidings::postgres_columns
