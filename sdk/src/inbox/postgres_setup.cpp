#include "inbox/postgres_setup.hpp"

#include "database/crash_losses.hpp"
#include "inbox/schema/schema.hpp"

#include <tidings/error.hpp>
#include <tidings/settings.hpp>

#include <spdlog/spdlog.h>

namespace tidings {
namespace {

// A session that hangs or vanishes mid-transaction must block its group only briefly. A timeout set by the
// login or the URL is deliberate and is kept. An ack must not go out before its inbox row is on the disk:
// with synchronous_commit=off, a crash of the server would lose effects that are acked. $1: true for this
// transaction only.
constexpr const char* set_up =
    "SELECT CASE current_setting('lock_timeout') WHEN '0' THEN set_config('lock_timeout', '5s', $1::bool) "
    "END, "
    "CASE current_setting('idle_in_transaction_session_timeout') WHEN '0' "
    "THEN set_config('idle_in_transaction_session_timeout', '60s', $1::bool) END, "
    "CASE current_setting('synchronous_commit') WHEN 'off' "
    "THEN set_config('synchronous_commit', 'on', $1::bool) END";

constexpr const char* not_allowed = "42501";  // SQLSTATE

bool may_keep_positions(PostgresTables& database) {
  return database
             .exec(R"sql(
          SELECT 1 WHERE (SELECT bool_and(has_table_privilege(to_regclass('inbox_position'), needed))
                            FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS needed))sql")
             .size() == 1;
}

}  // namespace

const std::string& require_postgresql(const std::string& url) {
  if (DatabaseUrl::parse(url, "the inbox").kind != DatabaseUrl::Kind::postgresql)
    throw SettingError("the inbox is not a PostgreSQL database: takes postgresql://HOST/DATABASE");
  return url;
}

void set_up_session(PostgresConnection& database) { database.plan_and_exec(set_up, false); }

void queue_transaction_set_up(PostgresConnection& database) { database.queue(set_up, true); }

void tell_crash_losses(PostgresTables& database) {
  const auto rows = database.exec(crash_losses_of("'inbox', 'inbox_attempt', 'inbox_position'"));
  for (int row = 0; row < rows.size(); ++row)
    spdlog::warn("inbox: {}, and events are handled again then; {}", rows.text(row, 0), rows.text(row, 1));
}

bool make_inbox_tables(PostgresTables& database) {
  try {
    database.script(inbox_schema::postgres);
    return true;
  } catch (const PostgresError& error) {
    if (error.sqlstate() != not_allowed) throw;
    database.rollback();
    try {
      database.exec(
          "SELECT message_stored_at, seen_at, inbox.source FROM inbox_group, inbox, inbox_attempt LIMIT 0");
      return may_keep_positions(database);
    } catch (const PostgresError&) {
      throw error;
    }
  }
}

}  // namespace tidings
