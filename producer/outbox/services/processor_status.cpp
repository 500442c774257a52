#include <tidings/processor_status.hpp>

#include <spdlog/spdlog.h>

namespace tidings {

const char* to_string(ProcessorStatus::Phase phase) noexcept {
  using Phase = ProcessorStatus::Phase;
  switch (phase) {
    case Phase::starting:
      return "starting";
    case Phase::standby:
      return "standby";
    case Phase::active:
      return "active";
    case Phase::waiting_for_broker:
      return "waiting for broker";
    case Phase::waiting_for_database:
      return "waiting for database";
    case Phase::stopped:
      return "stopped";
  }
  return "unknown";
}

bool SharedProcessorStatus::enter(Phase next, const std::string& why) {
  {
    const std::lock_guard lock{mutex_};
    if (status_.phase == next) return false;
    status_.phase = next;
    status_.since = now();
    status_.trouble = why;
  }
  const bool trouble = next == Phase::waiting_for_broker || next == Phase::waiting_for_database;
  spdlog::log(trouble ? spdlog::level::warn : spdlog::level::info, "outbox processor {}{}{}", to_string(next),
              why.empty() ? "" : ": ", why);
  return true;
}

}  // namespace tidings
