#include "infrastructure/lease.hpp"

#include "infrastructure/statement_run.hpp"

#include <ctime>

namespace tidings {

bool Lease::try_take(Database& database) {
  if (held() && fresh()) return true;
  epoch_.reset();
  return attempt("take the lease " + options_.name, [&] {
    // A look before the write lock: those who stand by must not keep the service from writing.
    return is_free(read(database.handle())) && take(database);
  });
}

bool Lease::take(Database& database) {
  Transaction transaction{database.handle()};
  const auto row = read(database.handle());
  if (!is_free(row)) return false;  // another was faster
  const auto taken_at = BootClock::now();
  const std::int64_t epoch = row ? row->epoch + 1 : 1;
  SQLite::Statement statement{
      database.handle(),
      "INSERT INTO outbox_lease (name, holder, epoch, beat, expiresAt) VALUES (?, ?, ?, 0, ?) "
      "ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = excluded.epoch, "
      "beat = 0, expiresAt = excluded.expiresAt"};
  StatementRun{statement}.bind(options_.name, options_.holder, epoch, new_expiry()).exec();
  transaction.commit();
  epoch_ = epoch;
  renewed_ = taken_at;
  seen_.reset();
  return true;
}

std::optional<Lease::Row> Lease::read(SQLite::Database& database) const {
  SQLite::Statement statement{database,
                              "SELECT holder, epoch, beat, expiresAt FROM outbox_lease WHERE name = ?"};
  StatementRun run{statement};
  if (!run.bind(options_.name).next()) return std::nullopt;
  return Row{.holder = read_text(run.column(0)),
             .epoch = run.column(1).getInt64(),
             .beat = run.column(2).getInt64(),
             .expires_at = run.column(3).getInt64()};
}

bool Lease::is_free(const std::optional<Row>& row) {
  if (!row || row->holder == options_.holder) return true;
  if (row->expires_at <= now().time_since_epoch().count()) return true;  // released, or past its time
  // The wall clock says it is taken, which a stepped clock may say for years: does its holder live?
  const auto looked_at = BootClock::now();
  if (!seen_ || seen_->epoch != row->epoch || seen_->beat != row->beat)
    seen_ = Seen{.epoch = row->epoch, .beat = row->beat, .since = looked_at};
  return looked_at - seen_->since >= options_.duration;
}

bool Lease::renew(Transaction& transaction) {
  if (!held()) return false;
  return attempt("renew the lease " + options_.name, [&] {
    // Taken before the write: a slow commit must not make this process believe longer than others do.
    const auto renewed_at = BootClock::now();
    SQLite::Statement statement{transaction.database(),
                                "UPDATE outbox_lease SET beat = beat + 1, expiresAt = ? "
                                "WHERE name = ? AND holder = ? AND epoch = ?"};
    const bool ours =
        StatementRun{statement}.bind(new_expiry(), options_.name, options_.holder, *epoch_).exec() == 1;
    if (ours)
      transaction.on_commit([this, renewed_at] { renewed_ = renewed_at; });
    else
      epoch_.reset();
    return ours;
  });
}

void Lease::release(Database& database) {
  if (!held()) return;
  const auto epoch = *std::exchange(epoch_, std::nullopt);
  attempt("release the lease " + options_.name, [&] {
    SQLite::Statement statement{
        database.handle(),
        "UPDATE outbox_lease SET expiresAt = 0 WHERE name = ? AND holder = ? AND epoch = ?"};
    StatementRun{statement}.bind(options_.name, options_.holder, epoch).exec();
  });
}

std::int64_t Lease::new_expiry() const { return (now() + options_.duration).time_since_epoch().count(); }

bool Lease::fresh() const noexcept { return held() && BootClock::now() - renewed_ < options_.duration; }

BootClock::time_point BootClock::now() noexcept {
  timespec time{};
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return time_point{std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec}};
}

}  // namespace tidings
