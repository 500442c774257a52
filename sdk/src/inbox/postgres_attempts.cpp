#include "inbox/postgres_attempts.hpp"

#include "event/valid_utf8.hpp"
#include "inbox/attempt_columns.hpp"

#include <utility>

namespace tidings {
namespace {

/// False when the row there is another source's.
bool write_at(const std::string& place, PostgresTables& database, const std::string& group,
              const EventKey& key, const AttemptColumns& row) {
  const auto rows = database.exec(R"sql(
      INSERT INTO inbox_attempt(group_id, event_id, source, starts, last_error, state, reason, next_attempt_at,
                                message_stored_at)
      VALUES ($1, $2::bytea, $3::bytea, $4, $5, $6, $7, to_timestamp($8::bigint / 1000.0),
              to_timestamp($9::bigint / 1000.0))
      ON CONFLICT (group_id, event_id) DO UPDATE SET
          starts = excluded.starts, last_error = excluded.last_error, state = excluded.state,
          reason = excluded.reason, next_attempt_at = excluded.next_attempt_at,
          message_stored_at = excluded.message_stored_at, updated_at = now()
       WHERE inbox_attempt.source IS NULL OR inbox_attempt.source = excluded.source)sql",
                                  group, place, bytea_or_null(key.source), row.starts, row.last_error,
                                  row.state, row.reason, row.next_attempt, row.message_stored_at);
  return rows.affected() == 1;
}

bool is_kept_at(const std::string& place, PostgresTables& database, const std::string& group) {
  return !database
              .plan_and_exec("SELECT 1 FROM inbox_attempt WHERE group_id = $1 AND event_id = $2::bytea",
                             group, place)
              .empty();
}

}  // namespace

std::optional<Inbox::Attempts> read_attempts(PostgresTables& database, const std::string& group,
                                             const EventIdentity& event) {
  const EventKey key{event};
  // The newest: the row under the id may be an older binary's.
  const auto rows = database.plan_and_exec(R"sql(
      SELECT starts, last_error, state, reason, (extract(epoch FROM next_attempt_at) * 1000)::bigint,
             (extract(epoch FROM message_stored_at) * 1000)::bigint, updated_at
        FROM inbox_attempt
       WHERE group_id = $1 AND event_id = $2::bytea AND (source IS NULL OR source = $4::bytea)
       UNION ALL
      SELECT starts, last_error, state, reason, (extract(epoch FROM next_attempt_at) * 1000)::bigint,
             (extract(epoch FROM message_stored_at) * 1000)::bigint, updated_at
        FROM inbox_attempt WHERE group_id = $1 AND event_id = $3::bytea
       ORDER BY updated_at DESC, starts DESC LIMIT 1)sql",
                                           group, bytea_id(key), bytea_or_null(key.source_and_id),
                                           bytea_or_null(key.source));
  if (rows.empty()) return std::nullopt;
  AttemptColumns row{.starts = static_cast<int>(rows.integer(0, 0)),
                     .last_error = std::string{rows.text(0, 1)},
                     .state = std::string{rows.text(0, 2)},
                     .reason = std::string{rows.text(0, 3)}};
  if (!rows.is_null(0, 4)) row.next_attempt = rows.integer(0, 4);
  if (!rows.is_null(0, 5)) row.message_stored_at = rows.integer(0, 5);
  return from_columns(row);
}

void write_attempts(PostgresTables& database, const std::string& group, const EventIdentity& event,
                    const Inbox::Attempts& attempts) {
  const EventKey key{event};
  auto storable = attempts;
  storable.reason = valid_utf8(std::move(storable.reason));
  const auto row = to_columns(storable);
  const auto with_source = bytea_or_null(key.source_and_id);
  const bool kept_there = with_source && is_kept_at(*with_source, database, group);
  const bool written = !kept_there && write_at(bytea_id(key), database, group, key, row);
  if (!written && with_source) (void)write_at(*with_source, database, group, key, row);
}

void delete_attempts(PostgresTables& database, const std::string& group, const EventIdentity& event) {
  const EventKey key{event};
  const auto remove = [&](const std::string& place) {
    database.plan_and_exec(
        "DELETE FROM inbox_attempt WHERE group_id = $1 AND event_id = $2::bytea "
        "AND (source IS NULL OR source = $3::bytea)",
        group, place, bytea_or_null(key.source));
  };
  remove(bytea_id(key));
  if (key.source_and_id) remove(bytea(*key.source_and_id));
}

}  // namespace tidings
