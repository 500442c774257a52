#pragma once

// What an outbox processor is doing, for those who ask why nothing comes out.

#include <tidings/timestamp.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

struct ProcessorStatus {
  enum class Phase { starting, standby, active, waiting_for_broker, waiting_for_database, stopped };
  Phase phase = Phase::starting;
  Timestamp since;  ///< when the phase began
  /// The error that it waits to be over; of `stopped`, the one that ended it; empty in the other phases.
  std::string waiting_because;
  std::string unmarked_because;  ///< why some events that the stream has are not marked yet; mostly empty
  std::uint64_t published = 0;   ///< confirmed by the stream since start
  std::uint64_t refused = 0;     ///< failed attempts
  std::uint64_t dead_lettered = 0;
  std::size_t in_flight = 0;
  std::size_t blocked_aggregates = 0;  ///< those with a FAILED event, for which their later events wait
  std::chrono::microseconds longest_cleanup{0};  ///< the longest that one cleanup step kept writers waiting
};

/// As logged and stored, in the order of Phase.
inline constexpr std::array phase_names{
    "starting", "standby", "active", "waiting for broker", "waiting for database", "stopped"};

[[nodiscard]] constexpr const char* to_string(ProcessorStatus::Phase phase) noexcept {
  return phase_names.at(static_cast<std::size_t>(phase));
}

[[nodiscard]] inline std::optional<ProcessorStatus::Phase> parse_phase(std::string_view text) noexcept {
  const auto* const name = std::find(phase_names.begin(), phase_names.end(), text);
  if (name == phase_names.end()) return std::nullopt;
  return static_cast<ProcessorStatus::Phase>(name - phase_names.begin());
}

/// What the active processor last wrote of itself, in a row beside its lease: for those who ask from another
/// process (`tidings outbox stats`).
struct ProcessorRecord {
  std::optional<ProcessorStatus::Phase> phase;  ///< empty for one that this version does not know
  Timestamp since;                              ///< when the phase began
  std::string waiting_because;                  ///< as in ProcessorStatus, or why it cannot write that
  std::int64_t in_flight = 0;
  std::int64_t published = 0;  ///< how many rows are PUBLISHED
  Timestamp written_at;
  std::string
      holder;  ///< of the lease; empty for one that waits for its connection to NATS, without the lease
  std::int64_t epoch = 0;
  Timestamp expires_at;  ///< of the lease; the time 0 when it was handed back
};

}  // namespace tidings
