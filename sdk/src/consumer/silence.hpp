#pragma once

// Judges by this observer's own monotonic clock whether the owner of a strict group is silent: no step of
// anybody's clock ends a lease.

#include "inbox/tenure_store.hpp"

#include <chrono>
#include <optional>

namespace tidings {

/// Does no I/O and reads no clock.
class Silence {
 public:
  using Time = std::chrono::steady_clock::time_point;

  explicit Silence(std::chrono::milliseconds lease) : lease_(lease) {}

  /// What was read between `asked` and `now`. True when the owner has shown no life for a lease, or nobody is
  /// the owner. A read that came late says nothing of the time before it: counting starts anew.
  [[nodiscard]] bool observe(const TenureStore::Seen& seen, Time asked, Time now) {
    const bool late = now - last_ > lease_ / 2;
    if (!seen_ || *seen_ != seen || late) since_ = now;
    seen_ = seen;
    last_ = now;
    return seen.tenure.empty() || asked - since_ >= lease_;
  }
  /// It could not be read.
  void failed() { seen_.reset(); }
  /// A lock was met at `now`, which may have kept the owner from showing life: it has half a lease for that.
  void met_lock(Time now) { since_ = now - lease_ / 2; }

 private:
  const std::chrono::milliseconds lease_;
  std::optional<TenureStore::Seen> seen_;
  Time since_{}, last_{};
};

}  // namespace tidings
