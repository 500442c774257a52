#pragma once

// What a consumer counts, for ConsumerStats.

#include "consumer/percentiles.hpp"
#include "consumer/puller.hpp"

#include <atomic>
#include <cstdint>

namespace tidings {

/// Written by the consumer's threads, read by any.
struct ConsumerMeters {
  using Count = std::atomic<std::uint64_t>;
  Count received{0}, handled{0}, duplicates{0}, retried{0}, held_back{0}, dead_lettered{0}, ignored{0},
      fenced{0}, commits{0}, last_commit_size{0};
  GroupGauges group;
  Percentiles handling;  ///< of each handler
  Percentiles age;       ///< of each event when its effects are committed
};

}  // namespace tidings
