#pragma once

// What an outbox processor is doing, for those who ask why nothing comes out.

#include <tidings/timestamp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace tidings {

struct ProcessorStatus {
  enum class Phase { starting, standby, active, waiting_for_broker, waiting_for_database, stopped };
  Phase phase = Phase::starting;
  Timestamp since;              ///< when the phase began
  std::string trouble;          ///< why it waits; empty otherwise
  std::uint64_t published = 0;  ///< confirmed by the stream since start
  std::uint64_t refused = 0;    ///< failed attempts
  std::uint64_t dead_lettered = 0;
  std::size_t in_flight = 0;
  std::size_t blocked_aggregates = 0;            ///< an event of theirs is FAILED; later ones wait
  std::chrono::microseconds longest_cleanup{0};  ///< for so long a step of it kept writers waiting, at most
  /// createdAt of the oldest row that was PENDING when marks were last written (at least three times a
  /// lease); known to the active processor only.
  std::optional<Timestamp> oldest_pending;
};

[[nodiscard]] const char* to_string(ProcessorStatus::Phase phase) noexcept;

/// The status as it stands; thread-safe.
class SharedProcessorStatus {
 public:
  using Phase = ProcessorStatus::Phase;

  /// True when that is a change. Logs one line for each.
  bool enter(Phase next, const std::string& why = {});

  /// `change` gets the status to write to; it must not throw or enter().
  template <class Change>
  void update(Change&& change) {
    const std::lock_guard lock{mutex_};
    change(status_);
  }

  [[nodiscard]] ProcessorStatus read() const {
    const std::lock_guard lock{mutex_};
    return status_;
  }

 private:
  mutable std::mutex mutex_;
  ProcessorStatus status_;
};

}  // namespace tidings
