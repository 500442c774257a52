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

// Names are qualified: SQLite takes a quoted name that does not exist for a text, unless it is.
constexpr const char* remaining_header =
    R"sql(, e."aggregateType", e."eventType", e."eventVersion", e."occurredAt",
          e."createdAt", e."updatedAt", e."retryCount", e.status)sql";

// PostgreSQL looks at the length of the text only where what is stored, maybe compressed, is more than most
// events have.
constexpr const char* data_unless_large = R"sql(,
    CASE WHEN pg_column_size(e."eventData") <= 2000 OR octet_length(e."eventData"::text) <= 32768
         THEN e."eventData" END)sql";
constexpr const char* sqlite_data_unless_large =
    ", CASE WHEN length(CAST(e.eventData AS BLOB)) <= 32768 THEN e.eventData END";

/// A time since the epoch, maybe with a fraction, as SQLite may have it: milliseconds. Below 10^11 they would
/// lie before 1974, and are meant as seconds.
std::optional<Timestamp> read_number(std::string_view text) {
  double number = 0;
  const auto* const end = text.data() + text.size();
  if (std::from_chars(text.data(), end, number).ptr != end || !(std::abs(number) < 1e15)) return std::nullopt;
  if (std::abs(number) < 1e11) number *= 1000;
  return Timestamp{std::chrono::milliseconds{static_cast<std::int64_t>(number)}};
}

/// Whichever way it is stored; what cannot be read as a time stays as it is.
std::string iso(const std::string& text) {
  const auto time = read_time(text);
  return time ? to_iso8601(*time) : text;
}

/// A writer that leaves it empty means the column's default. What cannot be read is a defect of the event.
void read_version(const std::optional<std::string>& text, OutboxEvent& event) {
  constexpr std::size_t longest_shown = 40;
  if (!text) return;
  const auto* const end = text->data() + text->size();
  int version = 0;
  const auto read = std::from_chars(text->data(), end, version);
  if (read.ec == std::errc{} && read.ptr == end && version >= 0)
    event.event_version = version;
  else
    event.defect = "eventVersion: " + text->substr(0, longest_shown) + " is not a whole number from 0 to " +
                   std::to_string(std::numeric_limits<int>::max());
}

}  // namespace

std::string bytes_of_uuid(std::string_view id) { return uuid_bytes(id).value_or(std::string{}); }

std::string id_as_text(const std::string& column) {
  const auto digits = "hex(" + column + ")";
  auto spelling = "substr(" + digits + ", 1, 8)";
  for (const auto* const part : {"9, 4", "13, 4", "17, 4", "21"})
    spelling += " || '-' || substr(" + digits + ", " + part + ")";
  return "CASE WHEN typeof(" + column + ") = 'blob' AND length(" + column + ") = 16 AND " + digits +
         " GLOB '????????????[1-8]???[89AB]*' THEN lower(" + spelling + ") ELSE " + column + " END";
}

std::string select(Database::Kind kind, Columns columns) {
  const bool sqlite = kind == Database::Kind::sqlite;
  std::string statement = "SELECT ";
  statement += sqlite ? "e.rowid, " + id_as_text("e.id") + ", " + id_as_text("e.aggregateId")
                      : R"(e.xmin, e.id, e."aggregateId")";
  statement += remaining_header;
  if (columns == Columns::event) {
    statement += sqlite ? sqlite_data_unless_large : data_unless_large;
    if (!sqlite) statement += ", e.cmin, e.ctid";
  }
  if (columns == Columns::row) statement += R"(, e."eventData")";
  if (columns == Columns::listed) statement += ", NULL";
  if (columns == Columns::row || columns == Columns::listed)
    statement += R"(, e."lastError", e."processedAt", e."publishedAt")";
  return statement + " FROM outbox_event AS e";
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
  read_version(cell(event_version), taken);
  taken.occurred_at = time(occurred_at);
  taken.updated_at = time(updated_at).value_or(Timestamp{});  // so long ago that a retry is due
  taken.retry_count = read_count(rows, number, at + retry_count);
  taken.status = parse_row_status(take(status)).value_or(RowStatus::dead_letter);
  if (at + event_data < rows.columns) {
    taken.data_is_read = cell(event_data).has_value();
    taken.event_data = take(event_data);
  }
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
                     .status = rows.text(number, status),
                     .event_version = rows.text(number, event_version),
                     .last_error = rows.text(number, last_error),
                     .occurred_at = iso(rows.text(number, occurred_at)),
                     .created_at = iso(rows.text(number, created_at)),
                     .updated_at = iso(rows.text(number, updated_at)),
                     .processed_at = iso(rows.text(number, processed_at)),
                     .published_at = iso(rows.text(number, published_at))});
    taken.back().event = take_event(rows, number, kind);  // last: it moves texts out of the row
  }
  return taken;
}

std::optional<Timestamp> read_time(std::string_view text) {
  using namespace std::chrono;
  const auto number = read_number(text);
  const auto time = number ? number : parse_timestamp(text);
  const auto is_within = [&time](int first, int end) {
    return *time >= sys_days{year{first} / January / 1} && *time < sys_days{year{end} / January / 1};
  };
  constexpr int epoch = 1970;
  if (!time || !is_within(1, 10000) || is_within(epoch, epoch + 1)) return std::nullopt;
  return time;
}

int read_count(const SqlRows& rows, std::size_t number, std::size_t column) {
  return static_cast<int>(
      std::clamp<std::int64_t>(rows.integer(number, column), 0, std::numeric_limits<int>::max() - 1));
}

}  // namespace tidings::outbox_columns
