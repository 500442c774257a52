#include "inbox/postgres_pruner.hpp"

#include <cstdint>
#include <optional>

namespace tidings {
namespace {

constexpr const char* first_position = "\\x";  // below all keys

std::int64_t milliseconds(Timestamp time) { return time.time_since_epoch().count(); }

}  // namespace

bool PostgresPruner::prune(const std::string& own_group, std::chrono::hours age, int limit) {
  if (group_.empty()) begin_round(own_group);
  const bool is_gone = group_ != own_group;
  const auto before = time_ - age, gone_before = before - gone_after;
  if (!prune_step(is_gone ? gone_before : before, limit)) return false;
  if (is_gone) see(group_);  // there is nothing more to look at for long
  group_ = next_gone(own_group, gone_before);
  return group_.empty();
}

/// The server's time as far as ids may be forgotten by it.
void PostgresPruner::begin_round(const std::string& own_group) {
  const auto times = database_.exec(R"sql(
      SELECT (extract(epoch FROM now()) * 1000)::bigint, (extract(epoch FROM max(seen_at)) * 1000)::bigint
        FROM inbox_group)sql");
  const auto time = [&times](int column) {
    return Timestamp{std::chrono::milliseconds{times.integer(0, column)}};
  };
  const auto seen = times.is_null(0, 1) ? std::nullopt : std::optional{time(1)};
  time_ = clock_.advance(time(0), seen, RetentionClock::Steady::now());
  see(own_group);
  group_ = own_group;
  position_ = first_position;
}

/// True at the end of the group's rows.
bool PostgresPruner::prune_step(Timestamp before, int limit) {
  // No handler runs in this transaction, so SET LOCAL affects nobody else. The planner expects no rows
  // after the position until the statistics are updated, and would read and sort all of them.
  database_.queue("SET LOCAL enable_seqscan = off");
  database_.queue("SET LOCAL enable_bitmapscan = off");
  const auto end = database_.exec(R"sql(
      WITH step AS (SELECT event_id FROM inbox WHERE group_id = $1 AND event_id > $2::bytea
                     ORDER BY event_id LIMIT $3),
           last AS (SELECT event_id FROM step ORDER BY event_id DESC LIMIT 1),
           gone AS (DELETE FROM inbox WHERE group_id = $1 AND event_id > $2::bytea
                       AND event_id <= (SELECT event_id FROM last)
                       AND handled_at < to_timestamp($4::bigint / 1000.0))
      SELECT encode(event_id, 'hex'), (SELECT count(*) FROM step) FROM last)sql",
                                  group_, position_, limit, milliseconds(before));
  if (!end.empty() && end.integer(0, 1) == limit) {
    position_ = "\\x" + std::string{end.text(0, 0)};
    return false;
  }
  position_ = first_position;
  database_.exec(
      "DELETE FROM inbox_attempt WHERE group_id = $1 AND updated_at < to_timestamp($2::bigint / 1000.0)",
      group_, milliseconds(before));
  // A scan that has to be made all the same would look expensive enough to be compiled first.
  database_.queue("SET LOCAL enable_seqscan TO DEFAULT");
  database_.queue("SET LOCAL enable_bitmapscan TO DEFAULT");
  return true;
}

/// Groups of older binaries have never been seen: their time begins now.
void PostgresPruner::see(const std::string& group) {
  database_.exec(R"sql(
      UPDATE inbox_group SET seen_at = to_timestamp($2::bigint / 1000.0)
       WHERE (id = $1 OR seen_at IS NULL)
         AND (seen_at IS NULL OR seen_at < to_timestamp($2::bigint / 1000.0)))sql",
                 group, milliseconds(time_));
}

/// Empty when there is none.
std::string PostgresPruner::next_gone(const std::string& own_group, Timestamp seen_before) {
  const auto rows = database_.exec(R"sql(
      SELECT id FROM inbox_group WHERE id <> $1 AND seen_at < to_timestamp($2::bigint / 1000.0)
       ORDER BY id LIMIT 1)sql",
                                   own_group, milliseconds(seen_before));
  return rows.empty() ? std::string{} : std::string{rows.text(0, 0)};
}

}  // namespace tidings
