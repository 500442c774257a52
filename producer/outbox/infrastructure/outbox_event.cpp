#include <tidings/outbox_event.hpp>

namespace tidings {

const char* to_string(RowStatus status) noexcept {
  switch (status) {
    case RowStatus::pending:
      return "PENDING";
    case RowStatus::processing:
      return "PROCESSING";
    case RowStatus::published:
      return "PUBLISHED";
    case RowStatus::failed:
      return "FAILED";
    case RowStatus::dead_letter:
      return "DEAD_LETTER";
  }
  return "";
}

std::optional<RowStatus> parse_row_status(std::string_view text) noexcept {
  for (const auto status : {RowStatus::pending, RowStatus::processing, RowStatus::published,
                            RowStatus::failed, RowStatus::dead_letter})
    if (text == to_string(status)) return status;
  return std::nullopt;
}

}  // namespace tidings
