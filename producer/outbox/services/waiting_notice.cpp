#include "services/waiting_notice.hpp"

#include "infrastructure/waiting_record.hpp"

#include <tidings/error.hpp>

#include <spdlog/spdlog.h>

namespace tidings {

WaitingNotice::~WaitingNotice() {
  if (!database_) return;
  try {
    remove_waiting_record(*database_);
  } catch (const Error& error) {
    spdlog::debug("{}", error.what());  // it counts for some seconds only
  }
}

void WaitingNotice::tell(const std::string& why) {
  constexpr auto told_again_after = waiting_record_counts_for / 3;
  const auto time = std::chrono::steady_clock::now();
  if (told_at_ && time - *told_at_ < told_again_after) return;
  told_at_ = time;
  try {
    if (!database_) database_ = Database::open(database_url_, Database::Open::processor);
    database_->transact([&](Transaction&) { write_waiting_record(*database_, since_, why); });
  } catch (const Error& error) {
    database_.reset();
    spdlog::debug("{}", error.what());
  }
}

}  // namespace tidings
