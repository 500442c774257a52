#include "infrastructure/outbox_state.hpp"

#include "infrastructure/statement_run.hpp"

namespace tidings {
namespace {

std::int64_t milliseconds(Timestamp time) { return time.time_since_epoch().count(); }

Timestamp timestamp(const SQLite::Column& column) {
  return Timestamp{std::chrono::milliseconds{column.getInt64()}};
}

}  // namespace

void write_state(Transaction& transaction, const OutboxState& state, std::int64_t published) {
  attempt("write the state of the outbox processor", [&] {
    const auto since = milliseconds(state.since);
    const auto time = milliseconds(now());
    SQLite::Statement update{
        transaction.database(),
        "UPDATE outbox_state SET phase = ?, since = ?, trouble = ?, inFlight = ?, writtenAt = ?, "
        "published = max(0, published + ?) WHERE name = 'outbox'"};
    if (StatementRun{update}
            .bind(state.phase, since, state.trouble, state.in_flight, time, published)
            .exec() > 0)
      return;
    SQLite::Statement insert{
        transaction.database(),
        "INSERT INTO outbox_state (name, phase, since, trouble, inFlight, writtenAt, published) "
        "VALUES ('outbox', ?, ?, ?, ?, ?, (SELECT count(*) FROM outbox_event WHERE status = 'PUBLISHED'))"};
    StatementRun{insert}.bind(state.phase, since, state.trouble, state.in_flight, time).exec();
  });
}

std::optional<OutboxStateRow> read_state(Database& database) {
  return attempt("read the state of the outbox processor", [&]() -> std::optional<OutboxStateRow> {
    SQLite::Statement statement{
        database.handle(),
        "SELECT phase, since, trouble, inFlight, writtenAt, published, holder, epoch, "
        "expiresAt FROM outbox_state JOIN outbox_lease USING (name) "
        "WHERE name = 'outbox'"};
    StatementRun run{statement};
    if (!run.next()) return std::nullopt;
    return OutboxStateRow{.state = {.phase = read_text(run.column(0)),
                                    .since = timestamp(run.column(1)),
                                    .trouble = read_text(run.column(2)),
                                    .in_flight = run.column(3).getInt64()},
                          .written_at = timestamp(run.column(4)),
                          .published = run.column(5).getInt64(),
                          .holder = read_text(run.column(6)),
                          .epoch = run.column(7).getInt64(),
                          .expires_at = timestamp(run.column(8))};
  });
}

}  // namespace tidings
