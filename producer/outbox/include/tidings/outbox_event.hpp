#pragma once

// A row of the table outbox_event, as the processor sees it.

#include <tidings/timestamp.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace tidings {

enum class RowStatus { pending, processing, published, failed, dead_letter };

/// The table's spelling, in the order of RowStatus.
inline constexpr std::array row_status_names{"PENDING", "PROCESSING", "PUBLISHED", "FAILED", "DEAD_LETTER"};

[[nodiscard]] constexpr const char* to_string(RowStatus status) noexcept {
  return row_status_names.at(static_cast<std::size_t>(status));
}

[[nodiscard]] inline std::optional<RowStatus> parse_row_status(std::string_view text) noexcept {
  const auto* const name = std::find(row_status_names.begin(), row_status_names.end(), text);
  if (name == row_status_names.end()) return std::nullopt;
  return static_cast<RowStatus>(name - row_status_names.begin());
}

/// Where a row stands among the others, in their order; only the repository makes and reads it. Times as
/// PostgreSQL writes them stand in order as texts, -infinity before all.
struct OutboxPosition {
  std::int64_t row = 0;        ///< SQLite: the rowid, which grows in commit order
  std::string created_at, id;  ///< PostgreSQL: the columns, as text

  OutboxPosition(std::int64_t rowid = 0) : row(rowid) {}
  OutboxPosition(std::string its_created_at, std::string its_id)
      : created_at(std::move(its_created_at)), id(std::move(its_id)) {}
  bool operator==(const OutboxPosition&) const = default;
  bool operator<(const OutboxPosition& other) const {
    return std::tie(row, created_at, id) < std::tie(other.row, other.created_at, other.id);
  }
};

struct OutboxEvent {
  OutboxPosition position;
  std::string id, aggregate_id, aggregate_type, event_type;
  std::string event_data;    ///< JSON text, as in the column
  bool data_is_read = true;  ///< large ones are read when they are sent: OutboxRepository::read_data()
  int event_version = 1;
  std::optional<Timestamp> occurred_at;  ///< empty when the column is not a time that can be read
  int retry_count = 0;
  RowStatus status = RowStatus::pending;
  Timestamp updated_at;
  /// What is wrong with a column, so that the event cannot be published as it is; empty for nearly all.
  std::string defect{};
};

}  // namespace tidings
