#include "infrastructure/column_types.hpp"

#include "infrastructure/outbox_columns.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace tidings {
namespace {

/// Columns and types that do not work, as the parts of an error.
struct Findings {
  std::string wrong, remedy;

  void add(const std::string& what, const std::string& change) {
    wrong += (wrong.empty() ? "" : ", ") + what;
    if (!change.empty()) remedy += (remedy.empty() ? "" : ", ") + change;
  }
};

// PostgreSQL

constexpr std::array<std::string_view, 2> texts{"text", "character varying"};
constexpr std::array<std::string_view, 4> json_texts{"jsonb", "json", "text", "character varying"};
constexpr std::array<std::string_view, 3> integers{"integer", "bigint", "smallint"};
constexpr std::array<std::string_view, 1> times{"timestamp without time zone"};
constexpr std::array<std::string_view, 1> statuses{R"("OutboxEventStatus")"};

struct Column {
  std::string_view name;
  std::span<const std::string_view> types;  ///< as format_type() writes them
  std::int64_t shortest = 0;                ///< characters of a text, digits of a second's fraction
};

constexpr std::int64_t longest_error = 1000;  // see write_outcomes()

constexpr std::array columns{
    Column{"id", texts},
    Column{"aggregateId", texts},
    Column{"aggregateType", texts},
    Column{"eventType", texts},
    Column{"eventData", json_texts},
    Column{"eventVersion", integers},
    Column{"occurredAt", times},
    Column{"processedAt", times},
    Column{"publishedAt", times},
    Column{"retryCount", integers},
    Column{"lastError", texts, longest_error},
    Column{"status", statuses},
    Column{"createdAt", times, 3},
    Column{"updatedAt", times, 3},
};

/// What ALTER TABLE is to do.
std::string change(const Column& column, const std::string& type) {
  const auto name = '"' + std::string{column.name} + '"';
  const auto alter = "ALTER " + name + " TYPE ";
  if (column.types.data() == times.data())
    return alter + "timestamp(3)" +
           (type.find("with time zone") != std::string::npos ? " USING " + name + " AT TIME ZONE 'UTC'" : "");
  if (column.types.data() == statuses.data())
    return "ALTER " + name + " DROP DEFAULT, " + alter + R"("OutboxEventStatus" USING )" + name +
           R"(::text::"OutboxEventStatus", ALTER )" + name + " SET DEFAULT 'PENDING'";
  if (column.types.data() == json_texts.data()) return alter + "jsonb USING " + name + "::text::jsonb";
  if (column.types.data() == integers.data()) return alter + "integer USING " + name + "::integer";
  return alter + "text";
}

/// What a length or precision is, -1 for none: type modifiers of texts count four bytes more.
std::int64_t size_of(const std::string& type, std::int64_t modifier) {
  return type == "character varying" && modifier > 0 ? modifier - 4 : modifier;
}

/// Rows are told apart by ctid, which those of partitions, or of tables that inherit, have in common: cleanup
/// would delete one that is PENDING in place of another's. Empty when all is well.
std::string wrong_kind(Database& database) {
  return database
      .exec(R"sql(
      SELECT CASE WHEN relkind = 'p' THEN 'a partitioned table where an ordinary table is needed'
                  WHEN relkind = 'v' THEN 'a view where an ordinary table is needed'
                  WHEN relkind <> 'r' THEN 'another relation where an ordinary table is needed'
                  WHEN EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid)
                  THEN 'tables that inherit from it' END
      FROM pg_class AS c WHERE oid = 'outbox_event'::regclass)sql")
      .text(0, 0);
}

/// A domain does not work: where a statement sets several columns to one parameter, their types must be
/// equal.
Findings look_at_postgres(Database& database) {
  if (auto kind = wrong_kind(database); !kind.empty())
    return {.wrong = std::move(kind), .remedy = "make it an ordinary table, without partitions or heirs"};
  const auto rows = database.exec(R"sql(
      SELECT attname, format_type(atttypid, NULL), atttypmod, format_type(atttypid, atttypmod)
      FROM pg_attribute
      WHERE attrelid = 'outbox_event'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum)sql");
  Findings findings;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto name = rows.text(row, 0);
    const auto* const column =
        std::ranges::find_if(columns, [&name](const Column& one) { return one.name == name; });
    if (column == columns.end()) continue;  // the service's own
    const auto type = rows.text(row, 1);
    const auto size = size_of(type, rows.integer(row, 2));
    const bool works = std::ranges::find(column->types, type) != column->types.end();
    if (works && (size < 0 || size >= column->shortest)) continue;
    findings.add('"' + name + "\" of type " + rows.text(row, 3), change(*column, type));
  }
  if (!findings.remedy.empty()) findings.remedy = "ALTER TABLE outbox_event " + findings.remedy;
  return findings;
}

// SQLite

/// A column takes whatever it is given, unless the table says otherwise. Where there are no rowids, there is
/// no commit order.
Findings look_at_sqlite(Database& database) {
  Findings findings;
  const auto table = database.exec(
      "SELECT type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = 'outbox_event'");
  if (!table.empty() && table.text(0, 0) != "table")
    findings.add("a " + table.text(0, 0) + " where a table is needed", "");
  if (!table.empty() && table.integer(0, 1) != 0) findings.add("WITHOUT ROWID", "");
  const bool strict = !table.empty() && table.integer(0, 2) != 0;
  const auto rows = database.exec("SELECT name, type, pk FROM pragma_table_info('outbox_event')");
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const auto name = rows.text(row, 0);
    auto type = rows.text(row, 1);
    std::ranges::transform(type, type.begin(), [](unsigned char letter) { return std::toupper(letter); });
    const bool is_rowid = type == "INTEGER" && rows.integer(row, 2) != 0;
    const bool is_number = name == "eventVersion" || name == "retryCount";
    const bool known = std::ranges::any_of(columns, [&name](const Column& one) { return one.name == name; });
    const bool strictly_other =
        strict && known && type != "ANY" && type != "TEXT" && !(is_number && type.starts_with("INT"));
    if ((name == "id" && is_rowid) || strictly_other) {
      std::string what{'"'};
      what.append(name).append("\" of type ").append(type);
      findings.add(what.append(strictly_other ? " in a STRICT table" : ""), "");
    }
  }
  return findings;
}

}  // namespace

void require_outbox_columns(Database& database) {
  const bool sqlite = database.kind() == Database::Kind::sqlite;
  const auto findings = sqlite ? look_at_sqlite(database) : look_at_postgres(database);
  if (!findings.wrong.empty())
    throw SqlError(
        "outbox_event has " + findings.wrong + "; " +
            (sqlite ? "make it anew with the columns of the service's migration" : findings.remedy),
        Error::Retry::no);
  database.exec(outbox_columns::select(database.kind(), outbox_columns::Columns::row) + " LIMIT 0");
}

}  // namespace tidings
