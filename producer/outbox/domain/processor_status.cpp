#include <tidings/processor_status.hpp>

#include <algorithm>
#include <array>

namespace tidings {
namespace {

// In the order of Phase.
constexpr auto names = std::to_array<const char*>(
    {"starting", "standby", "active", "waiting for broker", "waiting for database", "stopped"});

}  // namespace

const char* to_string(ProcessorStatus::Phase phase) noexcept {
  return names[static_cast<std::size_t>(phase)];
}

std::optional<ProcessorStatus::Phase> parse_phase(std::string_view text) noexcept {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found == names.end()) return std::nullopt;
  return static_cast<ProcessorStatus::Phase>(found - names.begin());
}

}  // namespace tidings
