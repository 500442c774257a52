#include "infrastructure/processor_record_row.hpp"

namespace tidings {

void write_processor_record(Transaction& transaction, const ProcessorStatus& status, std::int64_t published) {
  attempt("write the state of the outbox processor", [&] {
    auto& database = transaction.database();
    const auto* phase = to_string(status.phase);
    const auto since = status.since.time_since_epoch().count();
    const auto time = database.time().time_since_epoch().count();
    const auto updated = database
                             .exec(R"sql(
        UPDATE outbox_state
        SET phase = $1, since = $2, trouble = $3, "inFlight" = $4, "writtenAt" = $5,
            published = CASE WHEN published + $6 < 0 THEN 0 ELSE published + $6 END
        WHERE name = 'outbox')sql",
                                   phase, since, status.waiting_because, status.in_flight, time, published)
                             .affected;
    if (updated > 0) return;
    database.exec(R"sql(
        INSERT INTO outbox_state (name, phase, since, trouble, "inFlight", "writtenAt", published)
        VALUES ('outbox', $1, $2, $3, $4, $5, (SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'))
        )sql",
                  phase, since, status.waiting_because, status.in_flight, time);
  });
}

std::optional<ProcessorRecord> read_processor_record(Database& database) {
  return attempt("read the state of the outbox processor", [&]() -> std::optional<ProcessorRecord> {
    const auto rows = database.exec(R"sql(
        SELECT phase, since, trouble, "inFlight", published, "writtenAt", holder, epoch, "expiresAt"
        FROM outbox_state JOIN outbox_lease USING (name) WHERE name = 'outbox')sql");
    if (rows.empty()) return std::nullopt;
    const auto time = [&rows](std::size_t column) {
      return Timestamp{std::chrono::milliseconds{rows.integer(0, column)}};
    };
    return ProcessorRecord{.phase = parse_phase(rows.text(0, 0)),
                           .since = time(1),
                           .waiting_because = rows.text(0, 2),
                           .in_flight = rows.integer(0, 3),
                           .published = rows.integer(0, 4),
                           .written_at = time(5),
                           .holder = rows.text(0, 6),
                           .epoch = rows.integer(0, 7),
                           .expires_at = time(8)};
  });
}

}  // namespace tidings
