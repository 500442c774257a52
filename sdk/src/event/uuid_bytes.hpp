#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// In the one canonical spelling, with small letters.
[[nodiscard]] bool is_uuid(std::string_view id) noexcept;

/// The 16 bytes of such a UUID, so that no two ids share them.
[[nodiscard]] std::optional<std::string> uuid_bytes(std::string_view id);

}  // namespace tidings
