#include "inbox/postgres_inbox_tables.hpp"

#include "event/valid_utf8.hpp"
#include "inbox/attempt_columns.hpp"
#include "inbox/event_key.hpp"
#include "inbox/postgres_schema.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <utility>

namespace tidings {
namespace {

// One that stands still in its transaction, frozen or gone, must stop its group for a while only. $1: for the
// transaction alone. A time that the login or the URL sets was chosen by somebody.
constexpr const char* limit_waits =
    "SELECT CASE current_setting('lock_timeout') WHEN '0' THEN set_config('lock_timeout', '5s', $1::bool) "
    "END, "
    "CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' "
    "THEN set_config('idle_in_transaction_session_timeout', '60s', $1::bool) END";

const std::string& require_postgresql(const std::string& url) {
  if (DatabaseUrl::parse(url, "the inbox").kind != DatabaseUrl::Kind::postgresql)
    throw SettingError("the inbox is no PostgreSQL database: takes postgresql://HOST/DATABASE");
  return url;
}

}  // namespace

PostgresInboxTables::PostgresInboxTables(const std::string& url) : database_(require_postgresql(url)) {
  try {
    connect();
    make_inbox_tables(database_);
  } catch (const PostgresError& error) {
    throw DatabaseError("cannot make the inbox tables in " + database_.name() + ": " + error.what(),
                        error.retryable() ? Error::Retry::yes : Error::Retry::no);
  }
}

void PostgresInboxTables::connect() {
  if (!database_.connect() || database_.pooled()) return;
  try {
    database_.plan_and_exec(limit_waits, false);
  } catch (const PostgresError&) {
    database_.disconnect();  // the next one must have it
    throw;
  }
}

void PostgresInboxTables::join(const std::string& group) {
  if (!group_.empty())
    throw Error("this inbox already serves a consumer: give each its own PostgresInbox object");
  try {
    database_.exec("INSERT INTO inbox_group(name) VALUES ($1) ON CONFLICT DO NOTHING", group);
    group_ = database_.exec("SELECT id FROM inbox_group WHERE name = $1", group).text(0, 0);
  } catch (const PostgresError& error) {
    throw DatabaseError("cannot join the group " + group + " in the inbox " + database_.name() + ": " +
                        error.what());
  }
}

void PostgresInboxTables::begin() {
  rollback();
  connect();
  take_claims_back();
  database_.queue("BEGIN");
  if (database_.pooled()) database_.queue(limit_waits, true);  // the session is others', too
  database_.keep_transaction(true);
}

void PostgresInboxTables::commit() {
  require_own_transaction();  // without one, COMMIT is no error
  database_.keep_transaction(false);
  // By place: nobody else moves a row of ours, and a planner that takes a key's rows for few would go through
  // all.
  std::string not_taken;
  for (const auto& [id, row] : ahead_)
    if (row.state == Ahead::State::written)
      not_taken += (not_taken.empty() ? "{\"" : ",\"") + row.place + '"';
  if (!not_taken.empty())
    database_.plan_and_exec("DELETE FROM inbox WHERE ctid = ANY ($1::tid[])", not_taken + "}");
  ahead_.clear();
  const auto done = database_.exec("COMMIT");
  // A transaction that an earlier error has ended is rolled back by COMMIT without an error.
  if (done.command() != "COMMIT")
    throw PostgresError("the transaction was rolled back by an error before", "25P02");
}

void PostgresInboxTables::rollback() noexcept {
  const bool committed = database_.committed_in_part_;
  database_.keep_transaction(false);
  database_.rollback();
  if (committed) {
    // Of events whose handlers have not begun, or not ended.
    for (const auto& [id, row] : ahead_)
      if (row.state == Ahead::State::written) claims_to_take_back_.push_back(bytea_key(id));
    if (!claimed_.empty()) claims_to_take_back_.push_back(bytea_key(claimed_));
    try {
      take_claims_back();
    } catch (const std::exception&) {  // begin() tries again
    }
  }
  ahead_.clear();
  claimed_.clear();
}

/// That a handler has committed.
void PostgresInboxTables::take_claims_back() {
  if (claims_to_take_back_.empty()) return;
  database_.plan_and_exec("DELETE FROM inbox WHERE group_id = $1 AND event_id = ANY ($2::bytea[])", group_,
                          bytea_array(claims_to_take_back_));
  claims_to_take_back_.clear();
}

void PostgresInboxTables::savepoint() {
  claimed_.clear();
  database_.queue("SAVEPOINT delivery");
}

/// It may have been another event's, before this savepoint was made: what the server has is that event's, and
/// the handler's own savepoint that it went back to was perhaps made there, too.
void PostgresInboxTables::require_nothing_queued_failed() const {
  if (database_.queued_failed()) throw PostgresError("a queued statement failed", "25P02");
}

void PostgresInboxTables::release_savepoint() {
  require_nothing_queued_failed();
  database_.queue("RELEASE SAVEPOINT delivery");
}

void PostgresInboxTables::rollback_to_savepoint() {
  require_nothing_queued_failed();
  if (const auto taken = ahead_.find(claimed_); taken != ahead_.end())
    taken->second.state = Ahead::State::written;
  database_.exec("ROLLBACK TO SAVEPOINT delivery");
  database_.end_tried_ = false;  // it was refused, or the savepoint would be gone
}

void PostgresInboxTables::require_sound() const {
  if (database_.in_failed_transaction())
    throw PostgresError("a statement failed, and the handler went on as if it had not", "25P02");
  require_own_transaction();
}

void PostgresInboxTables::require_own_transaction() const {
  // What is queued begins with the BEGIN. A connection that is lost is told of by the next statement.
  const bool none = database_.connected() && !database_.in_transaction() && database_.queued_.empty();
  if (database_.end_tried_ || none) throw PostgresError(PostgresConnection::kept_transaction, "2D000");
}

void PostgresInboxTables::claim_ahead(const std::vector<std::string>& event_ids) {
  if (event_ids.empty()) return;
  std::vector<std::string> keys;
  std::unordered_map<std::string, const std::string*> ids;
  for (const auto& id : event_ids) {
    ahead_.emplace(id, Ahead{});
    keys.push_back(bytea_key(id));
    ids.emplace(keys.back(), &id);
  }
  const auto rows = database_.exec(
      "INSERT INTO inbox(group_id, event_id) SELECT $1, ids.key FROM unnest($2::bytea[]) AS ids(key) "
      "ON CONFLICT DO NOTHING RETURNING encode(event_id, 'hex'), ctid",
      group_, bytea_array(std::move(keys)));
  for (int row = 0; row < rows.size(); ++row)
    ahead_[*ids.at("\\x" + std::string{rows.text(row, 0)})] = {Ahead::State::written,
                                                               std::string{rows.text(row, 1)}};
}

bool PostgresInboxTables::claim(const std::string& event_id) {
  if (const auto found = ahead_.find(event_id); found != ahead_.end()) {
    if (found->second.state != Ahead::State::written) return false;
    found->second.state = Ahead::State::taken;
    claimed_ = event_id;
    return true;
  }
  const bool first =
      database_
          .exec("INSERT INTO inbox(group_id, event_id) VALUES ($1, $2::bytea) ON CONFLICT DO NOTHING", group_,
                bytea_key(event_id))
          .affected() == 1;
  if (first) claimed_ = event_id;
  return first;
}

bool PostgresInboxTables::handled(const std::string& event_id) {
  return !database_
              .plan_and_exec("SELECT 1 FROM inbox WHERE group_id = $1 AND event_id = $2::bytea", group_,
                             bytea_key(event_id))
              .empty();
}

std::optional<Inbox::Attempts> PostgresInboxTables::attempts(const std::string& event_id) {
  const auto rows = database_.plan_and_exec(R"sql(
      SELECT starts, last_error, state, reason, (extract(epoch FROM next_attempt_at) * 1000)::bigint
        FROM inbox_attempt WHERE group_id = $1 AND event_id = $2::bytea)sql",
                                            group_, bytea_key(event_id));
  if (rows.empty()) return std::nullopt;
  AttemptColumns row{.starts = static_cast<int>(rows.integer(0, 0)),
                     .last_error = std::string{rows.text(0, 1)}};
  if (!rows.is_null(0, 2)) row.state = rows.text(0, 2);
  row.reason = rows.text(0, 3);
  if (!rows.is_null(0, 4)) row.next_attempt = rows.integer(0, 4);
  return from_columns(row);
}

void PostgresInboxTables::record_attempts(const std::string& event_id, const Attempts& attempts) {
  auto storable = attempts;
  storable.reason = valid_utf8(std::move(storable.reason));
  const auto row = to_columns(storable);
  database_.exec(R"sql(
      INSERT INTO inbox_attempt(group_id, event_id, starts, last_error, state, reason, next_attempt_at)
      VALUES ($1, $2::bytea, $3, $4, $5, $6, to_timestamp($7::bigint / 1000.0))
      ON CONFLICT (group_id, event_id) DO UPDATE SET
          starts = excluded.starts, last_error = excluded.last_error, state = excluded.state,
          reason = excluded.reason, next_attempt_at = excluded.next_attempt_at, updated_at = now())sql",
                 group_, bytea_key(event_id), row.starts, row.last_error, row.state, row.reason,
                 row.next_attempt);
}

void PostgresInboxTables::forget_attempts(const std::string& event_id) {
  database_.plan_and_exec("DELETE FROM inbox_attempt WHERE group_id = $1 AND event_id = $2::bytea", group_,
                          bytea_key(event_id));
}

bool PostgresInboxTables::prune(std::chrono::hours age, int limit) {
  // In a transaction without a handler, so these are nobody else's settings. The planner takes what is behind
  // the position for nothing while it is newer than the statistics, and would read and sort all of it.
  database_.queue("SET LOCAL enable_seqscan = off");
  database_.queue("SET LOCAL enable_bitmapscan = off");
  const auto end = database_.exec(
      "WITH step AS (SELECT event_id FROM inbox WHERE group_id = $1 AND event_id > $2::bytea "
      "ORDER BY event_id LIMIT $3), "
      "last AS (SELECT event_id FROM step ORDER BY event_id DESC LIMIT 1), "
      "gone AS (DELETE FROM inbox WHERE group_id = $1 AND event_id > $2::bytea "
      "AND event_id <= (SELECT event_id FROM last) "
      "AND handled_at < now() - make_interval(hours => $4::int)) "
      "SELECT encode(event_id, 'hex'), (SELECT count(*) FROM step) FROM last",
      group_, prune_position_, limit, age.count());
  if (!end.empty() && end.integer(0, 1) == limit) {
    prune_position_ = "\\x" + std::string{end.text(0, 0)};
    return false;
  }
  prune_position_ = "\\x";
  database_.exec(
      "DELETE FROM inbox_attempt WHERE group_id = $1 AND updated_at < now() - make_interval(hours => "
      "$2::int)",
      group_, age.count());
  return true;
}

/// What is queued is a handler's: waiting does not make its statement quicker.
bool PostgresInboxTables::is_transient(const std::exception& error) const noexcept {
  const auto* own = dynamic_cast<const PostgresError*>(&error);
  return own != nullptr && own->retryable() && !(own->cancelled() && own->queued());
}

bool PostgresInboxTables::is_transient_in_handler(const std::exception& error) const noexcept {
  const auto* own = dynamic_cast<const PostgresError*>(&error);
  return own != nullptr && own->retryable() && !own->cancelled();
}

}  // namespace tidings
