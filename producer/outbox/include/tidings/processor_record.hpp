#pragma once

// What the active processor last wrote of itself, in a row beside its lease: for those who
// ask from another process (`tidings outbox stats`).

#include <tidings/processor_status.hpp>
#include <tidings/timestamp.hpp>

#include <cstdint>
#include <optional>
#include <string>

namespace tidings {

struct ProcessorRecord {
  std::optional<ProcessorStatus::Phase> phase;  ///< empty for one that this version does not know
  Timestamp since;                              ///< when the phase began
  std::string waiting_because;                  ///< as in ProcessorStatus
  std::int64_t in_flight = 0;
  std::int64_t published = 0;  ///< how many rows are PUBLISHED
  Timestamp written_at;
  std::string holder;  ///< of the lease
  std::int64_t epoch = 0;
  Timestamp expires_at;  ///< of the lease; the time 0 when it was handed back
};

}  // namespace tidings
