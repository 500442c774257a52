#include "consumer/lease_keeper.hpp"

#include "consumer/silence.hpp"
#include "retry_loop.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace tidings {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds longest_look{25};  // so soon a released lease is taken
constexpr int beats_in_a_lease = 4;

}  // namespace

bool LeaseKeeper::acquire(const std::stop_token& stop, const std::function<bool()>& may_take) {
  Silence silence{lease_};
  std::string told;
  for (; !stop.stop_requested(); pause(stop, std::min(longest_look, lease_ / 8))) {
    try {
      const auto asked = Clock::now();
      const auto seen = store_->look();
      if (!silence.observe(seen, asked, Clock::now()) || !may_take()) continue;
      if (take(seen)) return true;
    } catch (const DatabaseError& error) {
      silence.failed();
      if (told != error.what()) spdlog::warn("{}; trying again", error.what());
      told = error.what();
    }
  }
  return false;
}

/// A lock that it meets says nothing of the owner: the count of silence goes on.
bool LeaseKeeper::take(const TenureStore::Seen& seen) {
  const auto asked = Clock::now();
  auto tenure = new_tenure();
  try {
    if (!store_->take(seen, tenure)) return false;
  } catch (const DatabaseError& error) {
    spdlog::debug("{}: the lease could not be taken yet", error.what());
    return false;
  }
  tenure_ = std::move(tenure);
  renewed_ = asked.time_since_epoch().count();
  return true;
}

void LeaseKeeper::keep(std::function<bool()> may_renew) {
  may_renew_ = std::move(may_renew);
  beating_ = std::jthread{[this](const std::stop_token& stop) {
    for (; !stop.stop_requested() && !lost_; pause(stop, lease_ / beats_in_a_lease))
      if (may_renew_()) beat();
  }};
}

/// A beat may meet a lock, in SQLite the own handler's: nobody takes over as long as the tenure is seen to be
/// ours, since that is what they write.
void LeaseKeeper::beat() {
  const auto asked = Clock::now();
  bool ours = false;
  try {
    ours = store_->beat(tenure_);
  } catch (const DatabaseError&) {
    try {
      ours = store_->look().tenure == tenure_;
    } catch (const DatabaseError&) {
      return;  // not renewed
    }
  }
  if (ours)
    renewed_ = asked.time_since_epoch().count();
  else
    lost_ = true;
}

bool LeaseKeeper::holds() const noexcept {
  return !lost_ && Clock::now() - Clock::time_point{Clock::duration{renewed_.load()}} < lease_;
}

void LeaseKeeper::release() noexcept {
  beating_ = {};  // waits for its end
  try {
    store_->release(tenure_);
  } catch (const std::exception& error) {
    spdlog::warn("{}: the lease ends by itself", error.what());
  }
}

}  // namespace tidings
