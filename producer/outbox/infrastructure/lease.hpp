#pragma once

// One active processor per outbox. The lease is a row with an epoch: older epochs can write nothing
// (fencing).

#include <tidings/database.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace tidings {

/// Time that also passes while the process is stopped or the machine sleeps, and that nobody can set.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept;
};

/// Not thread-safe. Every function that is given a database throws DatabaseError.
class Lease {
 public:
  /// `holder` is unique per processor object. Others may take over `duration` after the last renewal.
  Lease(std::string holder, std::chrono::milliseconds duration)
      : holder_(std::move(holder)), duration_(duration) {}

  /// Takes the lease when it is free, released, expired, or has not been renewed for `duration` by this
  /// process's own steady clock (so a stepped wall clock cannot lock everyone out). True when held. Only
  /// reads while another holds it, so that any number may stand by; they should ask several times within
  /// `duration`.
  bool try_take(Database& database);

  /// Inside a transaction: true when this epoch still holds; then everything else in the transaction is
  /// fenced. Extends the lease; fresh() reflects this only after the commit: after a rollback, others may
  /// still take over as if nothing had happened. When false, the lease is given up.
  [[nodiscard]] bool renew(Transaction& transaction);

  // For a statement that renews it together with other things: PostgreSQL's marks, in postgres_outcomes.cpp.

  [[nodiscard]] const std::string& holder() const noexcept { return holder_; }
  [[nodiscard]] std::int64_t epoch() const { return epoch_.value(); }  ///< only when held
  [[nodiscard]] std::chrono::milliseconds duration() const noexcept { return duration_; }
  /// To be called once that statement has committed. When it has found the row to be `ours`, the lease counts
  /// from `sent`, the time at which it was sent; otherwise the lease is given up.
  void was_renewed(bool ours, BootClock::time_point sent) noexcept;

  /// Frees it for others at once. Does nothing when another holds it.
  void release(Database& database);

  [[nodiscard]] bool held() const noexcept { return epoch_.has_value(); }

  /// False once `duration` has passed since the last committed renewal: then another may be active.
  [[nodiscard]] bool fresh() const noexcept { return held() && BootClock::now() < fresh_until(); }
  /// When fresh() ends without another renewal.
  [[nodiscard]] BootClock::time_point fresh_until() const noexcept { return renewed_ + duration_; }

 private:
  struct Row {
    std::string holder;
    std::int64_t epoch = 0, beat = 0, expires_at = 0;
  };

  [[nodiscard]] std::optional<Row> read(Database& database) const;
  [[nodiscard]] bool is_free(const std::optional<Row>& row, Timestamp time);
  [[nodiscard]] bool take(Database& database, const std::optional<Row>& row);
  [[nodiscard]] std::int64_t new_expiry(Database& database) const;

  const std::string holder_;
  const std::chrono::milliseconds duration_;
  std::optional<std::int64_t> epoch_;
  BootClock::time_point renewed_;
  std::optional<Row> seen_;           // the other holder's last sign of life
  BootClock::time_point seen_since_;  // when it was first seen
};

}  // namespace tidings
