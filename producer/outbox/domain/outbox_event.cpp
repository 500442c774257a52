#include <tidings/outbox_event.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace tidings {
namespace {

constexpr std::array names{"PENDING", "PROCESSING", "PUBLISHED", "FAILED", "DEAD_LETTER"};  // as RowStatus

}  // namespace

const char* to_string(RowStatus status) noexcept { return names.at(static_cast<std::size_t>(status)); }

std::optional<RowStatus> parse_row_status(std::string_view text) noexcept {
  const auto* const name = std::find(names.begin(), names.end(), text);
  if (name == names.end()) return std::nullopt;
  return static_cast<RowStatus>(name - names.begin());
}

}  // namespace tidings
