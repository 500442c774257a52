#include "services/shared_processor_status.hpp"

#include <spdlog/spdlog.h>

namespace tidings {

bool SharedProcessorStatus::enter(Phase next, const std::string& why) {
  {
    const std::lock_guard lock{mutex_};
    if (status_.phase == next) return false;
    status_.phase = next;
    status_.since = now();
    status_.waiting_because = why;
  }
  const bool waiting = next == Phase::waiting_for_broker || next == Phase::waiting_for_database;
  spdlog::log(waiting ? spdlog::level::warn : spdlog::level::info, "outbox processor {}{}{}", to_string(next),
              why.empty() ? "" : ": ", why);
  return true;
}

}  // namespace tidings
