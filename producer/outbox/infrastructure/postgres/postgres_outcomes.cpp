#include "infrastructure/postgres/postgres_outcomes.hpp"

#include "infrastructure/postgres/text_array.hpp"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace tidings::postgres_outcomes {
namespace {

const std::string by_ids = " WHERE id = ANY($1::text[]) AND ";
const std::string delete_rows = "DELETE FROM outbox_event";

/// `at` is the parameter that says when.
std::string set_published(const std::string& at) {
  return "UPDATE outbox_event SET status = 'PUBLISHED', \"lastError\" = NULL, \"publishedAt\" = " + at +
         ", \"processedAt\" = " + at + ", \"updatedAt\" = " + at;
}

std::string ids_of(const std::vector<Outcome>& outcomes) {
  TextArray ids;
  for (const auto& outcome : outcomes) ids.add(outcome.id);
  return ids.text();
}

std::int64_t count_not_settled(Database& database, const std::string& ids) {
  return database.exec("SELECT count(*) FROM outbox_event" + by_ids + not_settled, ids).integer(0, 0);
}

[[noreturn]] void nothing_changes(std::int64_t rows) {
  throw SqlError(std::to_string(rows) +
                 " rows of outbox_event stay as they are although the database refuses nothing; look for "
                 "row-level security without a policy for UPDATE and DELETE, a rule, or a trigger");
}

/// "session 4711 (psql)" for each transaction that is open; others, which have shared a lock, are not known.
std::string sessions(Database& database, const std::string& transactions) {
  const auto rows = database.exec(R"sql(
      SELECT k.pid, coalesce(nullif(a.application_name, ''), 'unknown') FROM pg_locks AS k
      LEFT JOIN pg_stat_activity AS a ON a.pid = k.pid
      WHERE k.locktype = 'transactionid' AND k.granted AND k.mode = 'ExclusiveLock'
        AND k.transactionid::text = ANY($1::text[])
      ORDER BY k.pid LIMIT 3)sql",
                                  transactions);
  std::string text;
  for (std::size_t row = 0; row < rows.size(); ++row)
    text += (row == 0 ? " by session " : ", ") + rows.text(row, 0) + " (" + rows.text(row, 1) + ")";
  return text;
}

}  // namespace

std::int64_t write_published(Database& database, const std::vector<Outcome>& published,
                             bool delete_published) {
  const auto ids = ids_of(published);
  const auto write = [&] {
    if (delete_published) return database.exec(delete_rows + by_ids + not_settled, ids).affected;
    return database.exec(set_published("$2") + by_ids + not_settled, ids, to_iso8601(published.back().at))
        .affected;
  };
  auto changed = write();
  if (changed == static_cast<std::int64_t>(published.size())) return changed;
  // Rows that are gone or settled are nobody's mistake, nor are those that were set back in this moment.
  if (count_not_settled(database, ids) == 0) return changed;
  changed += write();
  if (const auto rows = count_not_settled(database, ids); rows > 0) nothing_changes(rows);
  return changed;
}

void require_changed(Database& database, const Outcome& outcome) {
  if (const auto rows = count_not_settled(database, ids_of({outcome})); rows > 0) nothing_changes(rows);
}

std::vector<Outcome> take_locked(Database& database, std::vector<Outcome>& outcomes, std::string& why) {
  const auto ids = ids_of(outcomes);
  const auto ours =
      database.exec("SELECT id FROM outbox_event" + by_ids + not_settled + " FOR UPDATE SKIP LOCKED", ids);
  std::unordered_set<std::string> free;
  for (std::size_t row = 0; row < ours.size(); ++row) free.insert(ours.text(row, 0));
  const auto rows = database.exec("SELECT id, xmax FROM outbox_event" + by_ids + not_settled, ids);
  std::unordered_set<std::string> locked;
  std::int64_t hidden = 0;
  TextArray transactions;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    if (free.contains(rows.text(row, 0))) continue;
    locked.insert(rows.text(row, 0));
    transactions.add(rows.text(row, 1));
    if (rows.text(row, 1) == "0") ++hidden;  // nobody has ever locked it
  }
  if (hidden > 0) nothing_changes(hidden);
  std::vector<Outcome> taken;
  if (locked.empty()) return taken;
  std::vector<Outcome> rest;
  for (auto& outcome : outcomes) (locked.contains(outcome.id) ? taken : rest).push_back(std::move(outcome));
  outcomes = std::move(rest);
  why = std::to_string(locked.size()) + " events wait to be marked: their rows are locked" +
        sessions(database, transactions.text());
  return taken;
}

std::optional<std::int64_t> write_at_once(Database& database, Lease& lease,
                                          const std::vector<Outcome>& published,
                                          const ProcessorStatus& status, bool delete_published) {
  static const auto statement = [](const std::string& change, const std::string& count) {
    const std::string time = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
    // The lease's row is locked first: what is behind it waits for its count.
    const std::string fenced = " AND (SELECT count(*) FROM fence) = 1 RETURNING 1)";
    return R"sql(
        WITH fence AS (
          UPDATE outbox_lease SET beat = beat + 1, "expiresAt" = $4::bigint + )sql" +
           time + R"sql(
          WHERE name = 'outbox' AND holder = $2 AND epoch = $3 RETURNING 1),
        changed AS ()sql" +
           change + by_ids + not_settled + fenced + R"sql(,
        record AS (
          UPDATE outbox_state SET phase = $5, since = $6, trouble = $7, "inFlight" = $8, published = published + )sql" +
           count + ", \"writtenAt\" = " + time + " WHERE name = 'outbox'" + fenced +
           " SELECT (SELECT count(*) FROM fence), (SELECT count(*) FROM changed)";
  };
  static const auto updating = statement(set_published("$9"), "(SELECT count(*) FROM changed)");
  static const auto deleting = statement(delete_rows, "0");
  const auto sent = BootClock::now();
  const auto run = [&](const std::string& text, const auto&... more) {
    return database.exec(text, ids_of(published), lease.holder(), lease.epoch(), lease.duration().count(),
                         to_string(status.phase), status.since.time_since_epoch().count(),
                         status.waiting_because, status.in_flight, more...);
  };
  const auto done = delete_published ? run(deleting) : run(updating, to_iso8601(published.back().at));
  const bool ours = done.integer(0, 0) == 1;
  lease.was_renewed(ours, sent);
  if (!ours) return std::nullopt;
  return done.integer(0, 1);
}

}  // namespace tidings::postgres_outcomes
