#include "consumer/lease_keeper.hpp"

#include "retry_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds longest_look{25};  // so soon a released lease is taken
constexpr int beats_in_a_lease = 4;
constexpr milliseconds again{10};  // after a beat that met a lock: soon after it, a standby may look

}  // namespace

bool LeaseKeeper::acquire(const std::stop_token& stop, const std::function<bool()>& may_take) {
  Silence silence{lease_};
  std::string told;
  for (; !stop.stop_requested(); pause(stop, std::min(longest_look, lease_ / 8))) {
    try {
      const auto asked = Clock::now();
      const auto seen = store_->look();
      if (!silence.observe(seen, asked, Clock::now()) || !may_take()) continue;
      if (take(seen, silence)) return true;
    } catch (const DatabaseError& error) {
      silence.failed();
      if (told != error.what()) spdlog::warn("{}; trying again", error.what());
      told = error.what();
    }
  }
  return false;
}

bool LeaseKeeper::take(const TenureStore::Seen& seen, Silence& silence) {
  const auto asked = Clock::now();
  auto tenure = new_tenure();
  try {
    if (!store_->take(seen, tenure)) return false;
  } catch (const DatabaseError& error) {
    spdlog::debug("{}: the lease could not be taken yet", error.what());
    silence.met_lock(Clock::now());
    return false;
  }
  tenure_ = std::move(tenure);
  renewed_ = asked.time_since_epoch().count();
  return true;
}

void LeaseKeeper::keep(std::function<bool()> may_renew) {
  may_renew_ = std::move(may_renew);
  beating_ = std::jthread{[this](const std::stop_token& stop) {
    while (!stop.stop_requested() && !lost_)
      pause(stop, !may_renew_() || renew() ? lease_ / beats_in_a_lease : again);
  }};
}

/// A beat may meet a lock, in SQLite the own handler's: nobody takes over as long as the tenure is seen to be
/// ours, since that is what they write.
bool LeaseKeeper::renew() {
  const std::lock_guard lock{store_in_use_};
  const auto asked = Clock::now();
  bool beaten = false;
  try {
    beaten = store_->beat(tenure_);
    lost_ = !beaten;
  } catch (const DatabaseError&) {
    try {
      lost_ = store_->look().tenure != tenure_;
    } catch (const DatabaseError&) {
      return false;
    }
  }
  if (!lost_) renewed_ = asked.time_since_epoch().count();
  return beaten;
}

bool LeaseKeeper::still_holds() {
  if (!holds() && !lost_) (void)renew();
  return holds();
}

bool LeaseKeeper::holds() const noexcept {
  return !lost_ && Clock::now() - Clock::time_point{Clock::duration{renewed_.load()}} < lease_;
}

void LeaseKeeper::release() noexcept {
  beating_ = {};  // waits for its end
  if (tenure_.empty()) return;
  try {
    store_->release(std::exchange(tenure_, {}));
  } catch (const std::exception& error) {
    spdlog::warn("{}: the lease ends by itself", error.what());
  }
}

}  // namespace tidings
