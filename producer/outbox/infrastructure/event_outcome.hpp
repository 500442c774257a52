#pragma once

#include <tidings/outbox_event.hpp>
#include <tidings/timestamp.hpp>

#include <string>

namespace tidings {

/// What became of an event.
struct Outcome {
  OutboxPosition position;
  std::string id;
  RowStatus status = RowStatus::published;  ///< not pending
  int retry_count = 0;
  std::string error;  ///< for failed and dead_letter; what is past 1000 bytes is cut off
  Timestamp at;       ///< when it was known; becomes updatedAt, except for processing, which keeps it
};

}  // namespace tidings
