#include "database/crash_losses.hpp"
#include "doctor_checks.hpp"
#include "printing.hpp"

#include <tidings/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace tidings {
namespace {

using Outcome = Finding::Outcome;
using std::chrono::milliseconds;

bool is_sqlite(const Database& database) { return database.kind() == Database::Kind::sqlite; }

Finding check_schema(Database& database) {
  database.require_schema();
  return {Outcome::ok, "the tables have what the relay needs"};
}

/// What the relay does with the tables; whether they are there is the schema's check.
Finding check_rights(Database& database) {
  if (is_sqlite(database)) return {Outcome::ok, "this user may write the file"};
  const auto rows = database.exec(R"sql(
      SELECT string_agg(privilege || ' on ' || name, ', ' ORDER BY name, place),
             string_agg('GRANT ' || privilege || ' ON ' || name || ' TO ' || quote_ident(current_user), '; '
                        ORDER BY name, place)
      FROM (VALUES ('outbox_event', ARRAY['SELECT', 'UPDATE', 'DELETE']),
                   ('outbox_lease', ARRAY['SELECT', 'INSERT', 'UPDATE']),
                   ('outbox_state', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'])) AS needed(name, privileges),
           unnest(privileges) WITH ORDINALITY AS each(privilege, place)
      WHERE NOT has_table_privilege(to_regclass(name)::oid, privilege))sql");
  if (rows.is_null(0, 0)) return {Outcome::ok, "this login may change what the relay changes"};
  return {Outcome::failed, "this login lacks " + rows.text(0, 0), rows.text(0, 1)};
}

struct Index {
  std::string name, columns;
  bool unique = false;
};

std::vector<Index> indexes_of(Database& database) {
  const auto rows = is_sqlite(database) ? database.exec(R"sql(
        SELECT i.name, (SELECT group_concat(c.name) FROM (SELECT name FROM pragma_index_info(i.name)) AS c),
               i."unique"
        FROM pragma_index_list('outbox_event') AS i WHERE NOT i.partial)sql")
                                        : database.exec(R"sql(
        SELECT i.indexrelid::regclass::text,
               (SELECT string_agg(a.attname, ',' ORDER BY k.place)
                FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k(number, place)
                JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.number),
               i.indisunique::integer
        FROM pg_index AS i
        WHERE i.indrelid = 'outbox_event'::regclass AND i.indpred IS NULL AND i.indisvalid)sql");
  std::vector<Index> indexes;
  for (std::size_t row = 0; row < rows.size(); ++row)
    indexes.push_back({rows.text(row, 0), rows.text(row, 1), rows.integer(row, 2) != 0});
  return indexes;
}

/// SQLite's statements name them; PostgreSQL finds what begins with these columns.
Finding check_indexes(Database& database) {
  struct Wanted {
    std::string_view name, columns, statement;
    bool unique = false;
  };
  constexpr std::array all{
      Wanted{"outbox_event_status_createdAt_idx", "status,createdAt",
             R"(CREATE INDEX "outbox_event_status_createdAt_idx" ON outbox_event("status", "createdAt"))"},
      Wanted{
          "outbox_event_aggregateId_aggregateType_idx", "aggregateId,aggregateType",
          R"(CREATE INDEX "outbox_event_aggregateId_aggregateType_idx" ON outbox_event("aggregateId", "aggregateType"))"},
      Wanted{"", "id", R"(CREATE UNIQUE INDEX "outbox_event_id_idx" ON outbox_event("id"))", true}};
  const auto there = indexes_of(database);
  std::string missing, fix;
  for (const auto& wanted : all) {
    const bool by_name = is_sqlite(database) && !wanted.name.empty();
    if (std::ranges::any_of(there, [&](const Index& index) {
          return index.columns.starts_with(wanted.columns) && (!by_name || index.name == wanted.name) &&
                 (!wanted.unique || (index.unique && index.columns == wanted.columns));
        }))
      continue;
    missing += (missing.empty() ? "none on (" : ", none on (") + std::string{wanted.columns} + ')' +
               (by_name ? " of the name " + std::string{wanted.name} : "");
    fix += (fix.empty() ? "" : "; ") + std::string{wanted.statement};
  }
  if (missing.empty()) return {Outcome::ok, "on status, aggregate and id"};
  return {Outcome::failed, missing, fix};
}

/// The relay's statements do not depend on them, but dead rows are in everybody's way.
Finding check_statistics(Database& database) {
  if (is_sqlite(database)) return {Outcome::ok, "none are needed"};
  const auto rows = database.exec(R"sql(
      SELECT s.n_live_tup, s.n_dead_tup,
             current_setting('autovacuum') = 'on'
               AND NOT coalesce('autovacuum_enabled=false' = ANY(c.reloptions), false),
             coalesce(to_char(greatest(s.last_vacuum, s.last_autovacuum) AT TIME ZONE 'UTC',
                              'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'never')
      FROM pg_class AS c JOIN pg_stat_all_tables AS s ON s.relid = c.oid
      WHERE c.oid = 'outbox_event'::regclass)sql");
  if (rows.empty()) return {Outcome::skipped, "this login may not see them"};
  const auto live = rows.integer(0, 0), dead = rows.integer(0, 1);
  const auto detail = std::to_string(live) + " rows and " + std::to_string(dead) +
                      " dead ones, last vacuumed: " + rows.text(0, 3);
  if (rows.text(0, 2) != "t")
    return {
        Outcome::failed, "autovacuum is off; " + detail,
        "ALTER TABLE outbox_event SET (autovacuum_enabled = true), and autovacuum = on in postgresql.conf"};
  constexpr std::int64_t many = 100'000;
  if (dead > many && dead > 2 * live)
    return {Outcome::failed, detail,
            "VACUUM (ANALYZE) outbox_event; when that removes nothing, end the transaction that is open for "
            "long: SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start"};
  return {Outcome::ok, detail};
}

Finding check_crashes(Database& database) {
  if (is_sqlite(database)) return {Outcome::ok, "the relay syncs what it commits"};
  const auto rows = database.exec(crash_losses_of("'outbox_event'"));
  std::string losses, fixes;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    losses += (row == 0 ? "" : "; ") + rows.text(row, 0);
    fixes += (row == 0 ? "" : "; ") + rows.text(row, 1);
  }
  if (losses.empty()) return {Outcome::ok, "what is committed stays"};
  return {Outcome::failed, losses, fixes};
}

Finding check_clock(Database& database) {
  if (is_sqlite(database)) return {Outcome::ok, "the database uses this machine's"};
  const auto before = now();
  const auto its = database.time();
  return compare_clocks("the database's clock", its - (before + (now() - before) / 2));
}

}  // namespace

std::vector<Check> check_database(Database& database) {
  const std::string migrate = "run: tidings outbox init";
  const std::string read_catalog = "let this login read the catalog";
  std::vector<Check> checks;
  checks.push_back({"rights", look([&] { return check_rights(database); }, read_catalog)});
  checks.push_back({"schema", look([&] { return check_schema(database); }, migrate)});
  const bool has_schema = checks.back().finding.outcome == Outcome::ok;
  const auto add = [&](const char* name, Finding (*check)(Database&)) {
    checks.push_back({name, has_schema ? look([&] { return check(database); }, read_catalog)
                                       : Finding{Outcome::skipped, "there is no outbox to look at"}});
  };
  add("indexes", check_indexes);
  add("statistics", check_statistics);
  add("crashes", check_crashes);
  checks.push_back({"clock of the database",
                    look([&] { return check_clock(database); }, "see that the database answers")});
  return checks;
}

PendingTypes pending_types(Database& database) {
  const auto rows = database.exec(R"sql(
      SELECT "eventType", min(CAST("aggregateId" AS text)) FROM outbox_event
      WHERE status IN ('PENDING', 'PROCESSING', 'FAILED') GROUP BY "eventType")sql");
  PendingTypes types;
  for (std::size_t row = 0; row < rows.size(); ++row) types.emplace(rows.text(row, 0), rows.text(row, 1));
  return types;
}

}  // namespace tidings
