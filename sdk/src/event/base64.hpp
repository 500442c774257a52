#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidings {

/// The bytes of base64 text (RFC 4648, with its padding); nothing when it is not that.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace tidings
