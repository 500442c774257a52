#include "infrastructure/lease.hpp"

#include <ctime>

namespace tidings {
namespace {

/// PostgreSQL: a process that was frozen while it sent a write has left a session that keeps the row's lock
/// and waits for the rest: no timeout of the server's ends that. Ends it, if it is of this login.
/// One that has waited for less than `silence` is merely slow: its renewal wins.
void end_frozen_holder(Database& database, std::chrono::milliseconds silence) {
  if (database.kind() != Database::Kind::postgresql) return;
  database.exec(R"sql(
      SELECT pg_terminate_backend(a.pid) FROM outbox_lease AS l
      JOIN pg_locks AS k ON k.locktype = 'transactionid' AND k.granted AND k.mode = 'ExclusiveLock'
                            AND k.transactionid = l.xmax
      JOIN pg_stat_activity AS a ON a.pid = k.pid
      WHERE l.name = 'outbox' AND a.wait_event = 'ClientRead' AND a.usename = current_user
        AND a.state_change < clock_timestamp() - $1 * interval '1 millisecond')sql",
                silence.count());
}

}  // namespace

bool Lease::try_take(Database& database) {
  if (held() && fresh()) return true;
  epoch_.reset();
  return attempt("take the lease", [&] {
    // Read before the write: standby processes must not block the service's writes.
    const auto row = read(database);
    return is_free(row, database.time()) && take(database, row);
  });
}

bool Lease::take(Database& database, const std::optional<Row>& row) {
  end_frozen_holder(database, duration_ / 2);
  const auto taken_at = BootClock::now();
  const std::int64_t epoch = row ? row->epoch + 1 : 1;
  // Changes nothing if another process was faster or the holder has renewed since.
  const auto taken =
      database.exec(R"sql(
      INSERT INTO outbox_lease (name, holder, epoch, beat, "expiresAt") VALUES ('outbox', $1, $2, 0, $3)
      ON CONFLICT (name) DO UPDATE
      SET holder = excluded.holder, epoch = excluded.epoch, beat = 0, "expiresAt" = excluded."expiresAt"
      WHERE outbox_lease.epoch = $4 AND outbox_lease.beat = $5)sql",
                    holder_, epoch, new_expiry(database), row ? row->epoch : 0, row ? row->beat : 0);
  if (taken.affected == 0) return false;
  epoch_ = epoch;
  renewed_ = taken_at;
  seen_.reset();
  return true;
}

std::optional<Lease::Row> Lease::read(Database& database) const {
  const auto rows = database.exec(
      R"sql(SELECT holder, epoch, beat, "expiresAt" FROM outbox_lease WHERE name = 'outbox')sql");
  if (rows.empty()) return std::nullopt;
  return Row{.holder = rows.text(0, 0),
             .epoch = rows.integer(0, 1),
             .beat = rows.integer(0, 2),
             .expires_at = rows.integer(0, 3)};
}

bool Lease::is_free(const std::optional<Row>& row, Timestamp time) {
  if (!row || row->holder == holder_) return true;
  if (row->expires_at <= time.time_since_epoch().count()) return true;  // released, or expired
  // If the wall clock was set back, the lease could look valid for years. It therefore also counts as free
  // when its holder has not renewed it for as long as a lease lasts.
  const auto read_at = BootClock::now();
  if (!seen_ || seen_->epoch != row->epoch || seen_->beat != row->beat) {
    seen_ = row;
    seen_since_ = read_at;
  }
  return read_at - seen_since_ >= duration_;
}

bool Lease::renew(Transaction& transaction) {
  if (!held()) return false;
  return attempt("renew the lease", [&] {
    // Taken before the write: however slow the commit is, this process must not believe for longer than the
    // others that it holds the lease.
    const auto renewed_at = BootClock::now();
    auto& database = transaction.database();
    const auto updated = database.exec(R"sql(
        UPDATE outbox_lease SET beat = beat + 1, "expiresAt" = $1
        WHERE name = 'outbox' AND holder = $2 AND epoch = $3)sql",
                                       new_expiry(database), holder_, *epoch_);
    const bool ours = updated.affected == 1;
    if (ours)
      transaction.on_commit([this, renewed_at] { renewed_ = renewed_at; });
    else
      epoch_.reset();
    return ours;
  });
}

void Lease::was_renewed(bool ours, BootClock::time_point sent) noexcept {
  if (ours)
    renewed_ = sent;
  else
    epoch_.reset();
}

void Lease::release(Database& database) {
  if (!held()) return;
  const auto epoch = *std::exchange(epoch_, std::nullopt);
  attempt("release the lease", [&] {
    database.exec(R"sql(
        UPDATE outbox_lease SET "expiresAt" = 0 WHERE name = 'outbox' AND holder = $1 AND epoch = $2)sql",
                  holder_, epoch);
  });
}

std::int64_t Lease::new_expiry(Database& database) const {
  return (database.time() + duration_).time_since_epoch().count();
}

BootClock::time_point BootClock::now() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return time_point{std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec}};
}

}  // namespace tidings
