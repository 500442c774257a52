#pragma once

#include <string>

namespace tidings {

/// What PostgreSQL can keep as text: valid UTF-8 without NUL, which the text of an error need not be.
[[nodiscard]] std::string valid_utf8(std::string text);

}  // namespace tidings
