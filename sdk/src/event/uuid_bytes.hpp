#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// In the one canonical spelling, with small letters.
[[nodiscard]] bool is_uuid(std::string_view id) noexcept;

/// The 16 bytes of such a UUID, so that no two ids share them.
[[nodiscard]] std::optional<std::string> uuid_bytes(std::string_view id);

/// The spelling of 16 bytes that have a UUID's version and variant: which text never has, as ASCII.
[[nodiscard]] std::optional<std::string> uuid_text(std::string_view bytes);

}  // namespace tidings
