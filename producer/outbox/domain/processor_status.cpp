#include <tidings/processor_status.hpp>

namespace tidings {

using Phase = ProcessorStatus::Phase;

const char* to_string(Phase phase) noexcept {
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

std::optional<Phase> parse_phase(std::string_view text) noexcept {
  for (const auto phase : {Phase::starting, Phase::standby, Phase::active, Phase::waiting_for_broker,
                           Phase::waiting_for_database, Phase::stopped})
    if (text == to_string(phase)) return phase;
  return std::nullopt;
}

}  // namespace tidings
