#pragma once

// A row of the table outbox_event, as the processor sees it.

#include <tidings/timestamp.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidings {

enum class OutboxStatus { pending, processing, published, failed, dead_letter };

/// The table's spelling: PENDING, PROCESSING, PUBLISHED, FAILED, DEAD_LETTER.
[[nodiscard]] const char* to_string(OutboxStatus status) noexcept;
[[nodiscard]] std::optional<OutboxStatus> parse_outbox_status(std::string_view text) noexcept;

struct OutboxEvent {
  /// Grows in commit order; SQLite's rowid. Not stored in a column of the model.
  std::int64_t position = 0;
  std::string id;
  std::string aggregate_id;
  std::string aggregate_type;
  std::string event_type;
  std::string event_data;  ///< JSON text, as in the column
  int event_version = 1;
  Timestamp occurred_at;
  int retry_count = 0;
  OutboxStatus status = OutboxStatus::pending;
  Timestamp updated_at;
};

}  // namespace tidings
