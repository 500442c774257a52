#pragma once

// How an outbox stands: what operators and monitoring ask, also while a million rows
// wait or are kept. Counts come from the index on status and from the processor's
// count of published rows, never from a walk through what is published.

#include <tidings/processor_record.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tidings {

/// An aggregate whose later events wait for one that is FAILED or being tried again.
struct BlockedAggregate {
  std::string aggregate_type, aggregate_id;
  std::string event_id;  ///< the one that they wait for
  int retry_count = 0;
  std::string last_error;
};

struct OutboxStats {
  std::int64_t pending = 0, processing = 0, failed = 0, dead_letter = 0;
  /// As the processor counted when it wrote outcomes and cleaned up: it misses what others do to published
  /// rows.
  std::int64_t published = 0;
  std::optional<Timestamp> oldest_pending;  ///< createdAt
  std::int64_t blocked_aggregates = 0;
  std::vector<BlockedAggregate> blocked;     ///< the first of them in commit order
  std::optional<ProcessorRecord> processor;  ///< empty when none has ever run
};

}  // namespace tidings
