#include "infrastructure/waiting_record.hpp"

namespace tidings {

using Phase = ProcessorStatus::Phase;

void write_waiting_record(Database& database, Timestamp since, const std::string& why) {
  attempt("write what the outbox processor waits for", [&] {
    database.exec(R"sql(
        INSERT INTO outbox_state (name, phase, since, trouble, "inFlight", "writtenAt", published)
        VALUES ('waiting', $1, $2, $3, 0, $4, 0)
        ON CONFLICT (name) DO UPDATE
        SET phase = excluded.phase, since = excluded.since, trouble = excluded.trouble,
            "writtenAt" = excluded."writtenAt")sql",
                  to_string(Phase::waiting_for_broker), since.time_since_epoch().count(), why,
                  database.time().time_since_epoch().count());
  });
}

void remove_waiting_record(Database& database) {
  attempt("remove what the outbox processor waits for",
          [&] { database.exec("DELETE FROM outbox_state WHERE name = 'waiting'"); });
}

std::optional<ProcessorRecord> read_waiting_record(Database& database) {
  return attempt("read what the outbox processor waits for", [&]() -> std::optional<ProcessorRecord> {
    const auto rows = database.exec(R"sql(
        SELECT since, trouble, "writtenAt" FROM outbox_state WHERE name = 'waiting')sql");
    if (rows.empty()) return std::nullopt;
    const Timestamp written_at{std::chrono::milliseconds{rows.integer(0, 2)}};
    const auto expires_at = written_at + waiting_record_counts_for;
    if (expires_at <= database.time()) return std::nullopt;
    return ProcessorRecord{.phase = Phase::waiting_for_broker,
                           .since = Timestamp{std::chrono::milliseconds{rows.integer(0, 0)}},
                           .waiting_because = rows.text(0, 1),
                           .written_at = written_at,
                           .holder = {},
                           .expires_at = expires_at};
  });
}

}  // namespace tidings
