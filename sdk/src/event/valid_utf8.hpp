#pragma once

#include <cstddef>
#include <string>

namespace tidings {

/// What PostgreSQL can keep as text: valid UTF-8 without NUL, which the text of an error need not be.
[[nodiscard]] std::string valid_utf8(std::string text);

/// Leaves at most `longest` bytes, and no part of a character at the end.
void cut_utf8(std::string& text, std::size_t longest);

}  // namespace tidings
