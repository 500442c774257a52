#include <tidings/outbox_event.hpp>

namespace tidings {

const char* to_string(OutboxStatus status) noexcept {
  switch (status) {
    case OutboxStatus::pending:
      return "PENDING";
    case OutboxStatus::processing:
      return "PROCESSING";
    case OutboxStatus::published:
      return "PUBLISHED";
    case OutboxStatus::failed:
      return "FAILED";
    case OutboxStatus::dead_letter:
      return "DEAD_LETTER";
  }
  return "";
}

std::optional<OutboxStatus> parse_outbox_status(std::string_view text) noexcept {
  for (const auto status : {OutboxStatus::pending, OutboxStatus::processing, OutboxStatus::published,
                            OutboxStatus::failed, OutboxStatus::dead_letter})
    if (text == to_string(status)) return status;
  return std::nullopt;
}

}  // namespace tidings
